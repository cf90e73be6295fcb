//! One Redis as a broker of topics: what can be asked of it and done to it, each in one round trip.
//!
//! Everything that changes a stream first checks, in the same script, that the stream is claimed by the caller.

pub mod error;
pub mod pool;
pub mod provision;

use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{FromRedisValue, Script, ScriptInvocation};
use synapse_desired::topic::status::Held;
use synapse_desired::topic::{Group, Limits, Marker, Owner, Seen, UNLISTED_GROUPS_COUNT_FOR};
use tokio::time::timeout;

use error::BrokerError;

/// The longest that one round trip may take, reconnecting included.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The most entries that one trim looks at, so that it never holds Redis up.
const TRIM_BATCH: u64 = 256;

/// A broker, seen by the owner of one stream.
#[derive(Clone)]
pub struct Stream {
    connection: ConnectionManager,
    marker: String,
    stream: String,
    owner: Owner,
    uid: String,
}

/// Whose a stream is.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Ours, with what we noted there.
    Ours(Marker, String),
    /// Another's; the text is needed to take over a void claim.
    Taken(Owner, String),
    /// Nobody's, and it holds entries of somebody.
    NotAdopted,
    /// The key holds another type.
    NotAStream(String),
}

/// What a trim did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries removed.
    pub removed: u64,
    /// Whether another trim would remove more.
    pub more: bool,
    /// What holds the limits back.
    pub held: Option<Held>,
}

/// What a deletion did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// Stream and claim are gone.
    Gone,
    /// A group has something left.
    Waiting(Held),
    /// The stream is not ours, hence left alone.
    Foreign,
}

impl Stream {
    /// The stream called `stream`, on behalf of the object `owner` whose uid is `uid`.
    pub fn new(connection: ConnectionManager, stream: &str, owner: Owner, uid: &str) -> Self {
        let (marker, stream) = (format!("synapse:owner:{stream}"), stream.to_owned());
        Self { connection, marker, stream, owner, uid: uid.to_owned() }
    }

    /// Claims the stream unless somebody has. What an object of the same name claimed before is ours.
    pub async fn claim(&self, adopt: bool) -> Result<Claim, BrokerError> {
        let claim = self.claim_once(adopt).await?;
        match claim {
            Claim::Ours(marker, text) if marker.uid != self.uid => {
                let marker = Marker { uid: self.uid.clone(), ..marker };
                let now = text_of(&marker)?;
                if self.exchange_marker(&text, &now).await? {
                    Ok(Claim::Ours(marker, now))
                } else {
                    // It was given back in this moment.
                    self.claim_once(adopt).await
                }
            }
            claim => Ok(claim),
        }
    }

    async fn claim_once(&self, adopt: bool) -> Result<Claim, BrokerError> {
        let (owner, uid) = (self.owner.clone(), self.uid.clone());
        let marker = Marker { owner, uid, provisioned: false, groups: Default::default() };
        let mut call = self.script(include_str!("broker/scripts/claim.lua"));
        call.arg(text_of(&marker)?).arg(if adopt { "adopt" } else { "" });
        let (answer, text): (String, String) = self.run(&call).await?;
        match answer.as_str() {
            "ours" => Ok(Claim::Ours(marker_of(&text)?, text)),
            "taken" => Ok(Claim::Taken(marker_of(&text)?.owner, text)),
            "unadopted" => Ok(Claim::NotAdopted),
            _ => Ok(Claim::NotAStream(text)),
        }
    }

    /// Writes the marker if it still reads `seen`; says whether it did.
    pub async fn replace_marker(&self, seen: &str, marker: &Marker) -> Result<bool, BrokerError> {
        self.exchange_marker(seen, &text_of(marker)?).await
    }

    /// Removes a marker, whoever wrote it, if it still reads `seen`: the stream belongs to nobody then.
    pub async fn void_marker(&self, seen: &str) -> Result<bool, BrokerError> {
        self.exchange_marker(seen, "").await
    }

    async fn exchange_marker(&self, seen: &str, text: &str) -> Result<bool, BrokerError> {
        let mut call = self.script(include_str!("broker/scripts/replace.lua"));
        call.arg(seen).arg(text);
        self.run(&call).await
    }

    /// What is there.
    pub async fn observe(&self) -> Result<Seen, BrokerError> {
        let call = self.script(include_str!("broker/scripts/observe.lua"));
        let (kind, entries, first, last, groups): (String, u64, String, String, Vec<Vec<u8>>) =
            self.run(&call).await?;
        // Anybody can make a group whose name is no text: it is protected as all others, but cannot be shown.
        let groups = groups.iter().filter(|text| std::str::from_utf8(text).is_ok());
        let groups: Result<Vec<Group>, _> = groups.map(|text| serde_json::from_slice(text)).collect();
        Ok(Seen {
            exists: kind == "stream",
            entries,
            first: Some(first).filter(|id| !id.is_empty()),
            last: Some(last).filter(|id| !id.is_empty()),
            groups: groups.map_err(|error| BrokerError::Unintelligible(error.to_string()))?,
        })
    }

    /// Makes the stream exist, and the group that is given with the id it begins after.
    pub async fn ensure(&self, group: Option<(&str, &str)>) -> Result<(), BrokerError> {
        let (name, after) = group.unwrap_or_default();
        let mut call = self.script(include_str!("broker/scripts/ensure.lua"));
        call.arg(name).arg(after);
        if self.run(&call).await? { Ok(()) } else { Err(BrokerError::ClaimLost) }
    }

    /// Removes a bounded part of what exceeds the limits and no group needs.
    pub async fn trim(&self, limits: Limits, listed: &[(String, String)]) -> Result<Trimmed, BrokerError> {
        let mut call = self.script(include_str!("broker/scripts/trim.lua"));
        call.arg(limits.entries.map(|n| n.to_string()).unwrap_or_default())
            .arg(limits.age.map(|age| age.as_millis().to_string()).unwrap_or_default())
            .arg(if limits.protect { "Protect" } else { "Trim" })
            .arg(u64::try_from(UNLISTED_GROUPS_COUNT_FOR.as_millis()).unwrap_or(u64::MAX))
            .arg(TRIM_BATCH);
        for (name, _) in listed {
            call.arg(name);
        }
        let (removed, more, group, why): (i64, bool, String, String) = self.run(&call).await?;
        let removed = u64::try_from(removed).map_err(|_| BrokerError::ClaimLost)?;
        Ok(Trimmed { removed, more, held: (!group.is_empty()).then_some(Held { group, why }) })
    }

    /// Gives the stream back if it is ours: it stays, and belongs to nobody.
    pub async fn release(&self) -> Result<bool, BrokerError> {
        let mut call = self.script(include_str!("broker/scripts/release.lua"));
        call.arg(&self.uid);
        self.run(&call).await
    }

    /// Deletes stream and claim if they are ours, and, where asked, only once no group has anything left.
    pub async fn delete(&self, drained: bool) -> Result<Deleted, BrokerError> {
        let mut call = self.script(include_str!("broker/scripts/delete.lua"));
        call.arg(if drained { "drained" } else { "" });
        let (answer, group, why): (String, String, String) = self.run(&call).await?;
        Ok(match answer.as_str() {
            "deleted" => Deleted::Gone,
            "waiting" => Deleted::Waiting(Held { group, why }),
            _ => Deleted::Foreign,
        })
    }

    fn script(&self, code: &str) -> Call {
        let mut call =
            Call(Script::new(&format!("{}\n{code}", include_str!("broker/scripts/prelude.lua"))), vec![]);
        call.arg(&self.owner.cluster).arg(&self.owner.namespace).arg(&self.owner.name);
        call
    }

    async fn run<T: FromRedisValue>(&self, call: &Call) -> Result<T, BrokerError> {
        let mut connection = self.connection.clone();
        let mut invocation: ScriptInvocation<'_> = call.0.prepare_invoke();
        invocation.key(&self.marker).key(&self.stream);
        for arg in &call.1 {
            invocation.arg(arg.as_slice());
        }
        match timeout(CALL_LIMIT, invocation.invoke_async(&mut connection)).await {
            Ok(answer) => answer.map_err(BrokerError::from),
            Err(_) => Err(BrokerError::Unreachable("no answer in time".to_owned())),
        }
    }
}

/// A script and its arguments.
struct Call(Script, Vec<Vec<u8>>);

impl Call {
    fn arg(&mut self, arg: impl ToString) -> &mut Self {
        self.1.push(arg.to_string().into_bytes());
        self
    }
}

fn text_of(marker: &Marker) -> Result<String, BrokerError> {
    serde_json::to_string(marker).map_err(|error| BrokerError::Unintelligible(error.to_string()))
}

fn marker_of(text: &str) -> Result<Marker, BrokerError> {
    serde_json::from_str(text).map_err(|_| {
        BrokerError::Unintelligible("the marker beside the stream was not written by Synapse".to_owned())
    })
}
