//! From what an object says of its Redis to an address: Secrets are read by name, in the object's namespace.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use synapse_api::conditions::Reason;
use synapse_api::connection::{Connection, SecretKeyRef, Tls};
use synapse_desired::address::from_anywhere;

use crate::broker::pool::Address;
use crate::call::limited;

/// The longest value that is read from a Secret, in bytes.
const MAX_VALUE: usize = 64 * 1024;

/// Why a reference leads nowhere, in the words of conditions. It never holds a Secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The word.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
}

/// The address that `connection` and `tls` lead to, read anew at every call: a Secret that rotated is noticed with the
/// next visit to the object, which comes within the resync period.
pub async fn address(
    client: &Client,
    namespace: &str,
    connection: &Connection,
    tls: Option<&Tls>,
) -> Result<Address, Unresolved> {
    let url = match (&connection.url, &connection.url_from) {
        (Some(url), _) => url.clone(),
        (None, Some(from)) => value(client, namespace, &from.secret_key_ref).await?,
        (None, None) => {
            return Err(Unresolved {
                reason: Reason::InvalidSpec,
                message: "connection: give exactly one of url and urlFrom".to_owned(),
            });
        }
    };
    let authorities = match tls {
        Some(tls) => Some(value(client, namespace, &tls.ca_secret_ref).await?),
        None => None,
    };
    Ok(Address { url: from_anywhere(url.trim(), namespace).into_owned(), authorities })
}

async fn value(client: &Client, namespace: &str, reference: &SecretKeyRef) -> Result<String, Unresolved> {
    let SecretKeyRef { name, key } = reference;
    let unresolved = |reason, message| Unresolved { reason, message };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = limited("get a Secret", secrets.get(name)).await.map_err(|error| {
        if error.is_not_found() {
            unresolved(
                Reason::SecretNotFound,
                format!("there is no Secret {name} in this namespace: create it"),
            )
        } else if error.is_forbidden() {
            let message = format!("the operator may not get the Secret {name}: grant it in this namespace");
            unresolved(Reason::SecretForbidden, message)
        } else {
            unresolved(Reason::SecretNotFound, format!("the Secret {name} could not be read: {error}"))
        }
    })?;
    let bytes = secret
        .data
        .and_then(|mut data| data.remove(key))
        .ok_or_else(|| unresolved(Reason::SecretKeyMissing, format!("the Secret {name} has no key {key}")))?;
    Some(bytes.0)
        .filter(|bytes| bytes.len() <= MAX_VALUE)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            unresolved(Reason::InvalidUrl, format!("what the Secret {name} holds under {key} is no text"))
        })
}
