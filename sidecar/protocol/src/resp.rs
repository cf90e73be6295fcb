//! RESP2 and RESP3: commands in, replies out.

pub mod encode;
pub mod inline;
pub mod plain;
pub mod request;

/// The version of the protocol that replies are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Version {
    /// RESP2, how every connection begins.
    #[default]
    Two,
    /// RESP3, after `HELLO 3`.
    Three,
}
