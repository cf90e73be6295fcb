//! Listeners, sessions, the one file that speaks both languages, HTTP, admin.
