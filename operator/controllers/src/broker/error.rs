//! What can go wrong with a broker, in the words of conditions.

use synapse_api::conditions::Reason;

/// Why a broker did not do what it was asked. No text in it ever holds a url: urls hold passwords.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The url cannot be used.
    #[error("the url cannot be used: {0}")]
    Url(String),
    /// There was no answer.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(String),
    /// The answer was an error.
    #[error("the broker answered with an error: {0}")]
    Refused(String),
    /// It does not know the user, or not this password.
    #[error("the broker does not accept the credentials: {0}")]
    Unauthenticated(String),
    /// It is too old.
    #[error("the broker is too old: Redis 7.0 or later, or Valkey, is needed")]
    Unsupported,
    /// The claim was ours a moment ago and is not any more.
    #[error("the claim on the stream was removed or taken meanwhile")]
    ClaimLost,
    /// What was read makes no sense.
    #[error("what was read from the broker cannot be understood: {0}")]
    Unintelligible(String),
}

impl BrokerError {
    /// The word for conditions.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Url(_) => Reason::InvalidUrl,
            Self::Unreachable(_) | Self::ClaimLost => Reason::BrokerUnreachable,
            Self::Refused(_) | Self::Unauthenticated(_) | Self::Unintelligible(_) => Reason::BrokerRefused,
            Self::Unsupported => Reason::BrokerUnsupported,
        }
    }

    /// Whether the connection that brought this is of no more use: it was not made, or is about to be replaced by an
    /// attempt whose outcome the next caller would get, however old it is by then.
    pub fn spoils_connection(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unauthenticated(_))
    }
}

impl From<redis::RedisError> for BrokerError {
    fn from(error: redis::RedisError) -> Self {
        use redis::ErrorKind as Kind;
        match error.kind() {
            _ if error.code() == Some("UNSUPPORTED") => Self::Unsupported,
            Kind::AuthenticationFailed => Self::Unauthenticated(error.to_string()),
            _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
                Self::Unauthenticated(error.to_string())
            }
            Kind::InvalidClientConfig => Self::Url(error.to_string()),
            Kind::UnexpectedReturnType | Kind::Parse => Self::Unintelligible(error.to_string()),
            _ if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() => {
                Self::Unreachable(error.to_string())
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}
