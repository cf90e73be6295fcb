//! Every call to the API server, under a limit: the client itself waits for ever.

use std::future::Future;
use std::time::Duration;

/// The longest that one call may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A call that brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server refused.
    #[error("failed to {0}: {1}")]
    Api(&'static str, #[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error("failed to {0}: no answer within {LIMIT:?}")]
    Silent(&'static str),
}

impl CallError {
    /// Whether the API server said that there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether the API server said that we may not.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// Whether the object changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Api(_, error) => match error.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Silent(_) => None,
        }
    }
}

/// What `call` brings, if it does so in time; `what` completes "failed to ...".
pub async fn limited<T>(
    what: &'static str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(CallError::Api(what, Box::new(error))),
        Err(_) => Err(CallError::Silent(what)),
    }
}
