//! Who may read: the API server is asked who a token belongs to, and whether that one may get the path.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use synapse_controllers::call::{CallError, limited};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// How long an answer of the API server holds: what is taken away from someone ends within it.
const HOLDS: Duration = Duration::from_secs(10);
/// The most answers that are kept.
const MOST: usize = 1024;
/// The longest token that the API server is asked about, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// The most questions at a time: a flood of made-up tokens must not become one at the API server.
const AT_ONCE: usize = 4;
/// The longest that one request may wait for its verdict.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may.
    Allowed,
    /// Nobody is known by its token, or it has none.
    Unknown,
    /// This user may not.
    Forbidden(String),
}

/// No verdict, hence no way through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    /// The API server.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Too many ask, or the API server takes too long.
    #[error("no verdict within {LIMIT:?}")]
    Late,
}

/// Asks the API server, and remembers its answers for a moment.
pub(crate) struct Guard {
    client: Client,
    answers: Mutex<HashMap<Question, (Verdict, Instant)>>,
    asking: Semaphore,
}

/// The token's hash, and the path: tokens themselves are not kept.
type Question = ([u8; 32], &'static str);

// === impl Guard ===

impl Guard {
    /// Asks through `client`, which must be allowed to create TokenReviews and SubjectAccessReviews.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, answers: Mutex::default(), asking: Semaphore::new(AT_ONCE) }
    }

    /// Whether whoever sent this header `authorization` may get `path`.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub(crate) async fn judge(
        &self,
        authorization: Option<&str>,
        path: &'static str,
    ) -> Result<Verdict, GuardError> {
        let Some(token) = authorization.and_then(bearer) else { return Ok(Verdict::Unknown) };
        let question = (Sha256::digest(token).into(), path);
        if let Some(known) = self.known(&question) {
            return Ok(known);
        }
        let asked = timeout(LIMIT, async {
            // A closed semaphore cannot be: nobody closes it.
            let _turn = self.asking.acquire().await;
            // Whoever came first with the same question may have the answer by now.
            match self.known(&question) {
                Some(known) => Ok(known),
                None => self.ask(token, path).await,
            }
        });
        let verdict = asked.await.map_err(|_| GuardError::Late)??;
        self.note(question, verdict.clone());
        Ok(verdict)
    }

    fn known(&self, question: &Question) -> Option<Verdict> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(question).filter(|(_, at)| at.elapsed() < HOLDS).map(|(verdict, _)| verdict.clone())
    }

    fn note(&self, question: Question, verdict: Verdict) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, (_, at)| at.elapsed() < HOLDS);
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        // An answer that two asked for holds from when it was first given.
        if answers.get(&question).is_none_or(|(_, at)| at.elapsed() >= HOLDS) {
            answers.insert(question, (verdict, Instant::now()));
        }
    }

    async fn ask(&self, token: &str, path: &'static str) -> Result<Verdict, GuardError> {
        let Some(user) = self.user(token).await? else { return Ok(Verdict::Unknown) };
        let name = user.username.clone().unwrap_or_default();
        Ok(if self.may(user, path).await? { Verdict::Allowed } else { Verdict::Forbidden(name) })
    }

    /// Whose token it is.
    async fn user(&self, token: &str) -> Result<Option<UserInfo>, CallError> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let review = limited("review a token", reviews.create(&PostParams::default(), &review)).await?;
        let status = review.status.filter(|status| status.authenticated == Some(true));
        Ok(status.and_then(|status| status.user))
    }

    /// Whether `user` may get `path`.
    async fn may(&self, user: UserInfo, path: &str) -> Result<bool, CallError> {
        let attributes = NonResourceAttributes { path: Some(path.to_owned()), verb: Some("get".to_owned()) };
        let spec = SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(attributes),
            resource_attributes: None,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let review = limited("review an access", reviews.create(&PostParams::default(), &review)).await?;
        Ok(review.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

/// The token of an `Authorization: Bearer` header, unless no token could be so long or so short.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && (1..=MAX_TOKEN).contains(&token.len())).then_some(token)
}

#[cfg(test)]
pub(super) mod tests;
