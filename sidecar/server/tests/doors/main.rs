//! The server as its clients meet it: every protocol on one socket, the end, the limits, the admin door.

mod admin;
mod end;
mod hostile;
mod http;
mod world;
