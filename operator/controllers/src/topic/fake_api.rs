//! An API server of a few kinds, as much of it as a topic meets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use synapse_api::topic::SynapseTopic;

#[derive(Clone, Default)]
pub(super) struct FakeApi(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    topics: BTreeMap<String, Value>,
    secrets: BTreeMap<String, Value>,
    events: Vec<String>,
    version: u64,
    status_writes: usize,
    metadata_writes: usize,
    refuses_events: bool,
    forbids_secrets: bool,
}

impl FakeApi {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                Ok::<_, Infallible>(api.answer(&parts.method, parts.uri.path(), &body))
            }
        });
        kube::Client::new(service, "apps")
    }

    pub(super) fn put_secret(&self, name: &str, key: &str, value: &str) {
        let data = json!({key: k8s_openapi::ByteString(value.as_bytes().to_vec())});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        self.with(|stored| stored.secrets.insert(name.to_owned(), secret));
    }

    pub(super) fn remove_secret(&self, name: &str) {
        self.with(|stored| stored.secrets.remove(name));
    }

    pub(super) fn forbid_secrets(&self) {
        self.with(|stored| stored.forbids_secrets = true);
    }

    pub(super) fn refuse_events(&self) {
        self.with(|stored| stored.refuses_events = true);
    }

    pub(super) fn put_topic(&self, name: &str, spec: Value) {
        self.put_topic_as(name, name, spec);
    }

    pub(super) fn put_topic_as(&self, name: &str, uid: &str, spec: Value) {
        let metadata =
            json!({"name": name, "namespace": "apps", "uid": uid, "generation": 1, "resourceVersion": "1"});
        let topic = json!({"apiVersion": "synapse.dev/v1alpha1", "kind": "SynapseTopic", "metadata": metadata, "spec": spec});
        self.with(|stored| stored.topics.insert(name.to_owned(), topic));
    }

    pub(super) fn remove_topic(&self, name: &str) {
        self.with(|stored| stored.topics.remove(name));
    }

    pub(super) fn set(&self, name: &str, field: &str, value: &str) {
        self.with(|stored| stored.topics.get_mut(name).unwrap()["spec"][field] = value.into());
    }

    pub(super) fn mark_deleted(&self, name: &str, at: Timestamp) {
        self.with(|stored| {
            stored.topics.get_mut(name).unwrap()["metadata"]["deletionTimestamp"] = at.to_string().into();
        });
    }

    pub(super) fn topic(&self, name: &str) -> Option<SynapseTopic> {
        self.with(|stored| {
            stored.topics.get(name).map(|topic| serde_json::from_value(topic.clone()).unwrap())
        })
    }

    pub(super) fn condition(&self, topic: &str, kind: &str) -> (String, String) {
        let status = self.topic(topic).unwrap().status.unwrap();
        let condition = status.conditions.into_iter().find(|c| c.type_ == kind).unwrap();
        (condition.status, condition.reason)
    }

    pub(super) fn message(&self, topic: &str, kind: &str) -> String {
        let status = self.topic(topic).unwrap().status.unwrap();
        status.conditions.into_iter().find(|c| c.type_ == kind).unwrap().message
    }

    pub(super) fn events(&self) -> Vec<String> {
        self.with(|stored| stored.events.clone())
    }

    pub(super) fn status_writes(&self) -> usize {
        self.with(|stored| stored.status_writes)
    }

    pub(super) fn metadata_writes(&self) -> usize {
        self.with(|stored| stored.metadata_writes)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Stored) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> Response<Body> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        self.with(|stored| match (method, parts.as_slice()) {
            (&Method::GET, ["api", "v1", "namespaces", "apps", "secrets", _]) if stored.forbids_secrets => {
                refuse(StatusCode::FORBIDDEN, "Forbidden")
            }
            (&Method::GET, ["api", "v1", "namespaces", "apps", "secrets", name]) => found(stored.secrets.get(*name)),
            (&Method::GET, ["apis", "synapse.dev", "v1alpha1", "synapsetopics"]) => {
                let items: Vec<Value> = stored.topics.values().cloned().collect();
                let list = json!({"apiVersion": "synapse.dev/v1alpha1", "kind": "SynapseTopicList", "metadata": {}, "items": items});
                found(Some(&list))
            }
            (method, ["apis", "synapse.dev", "v1alpha1", "namespaces", "apps", "synapsetopics", name, rest @ ..]) => {
                stored.topic(method, name, rest, body)
            }
            (_, ["apis", "events.k8s.io", ..]) if stored.refuses_events => {
                refuse(StatusCode::FORBIDDEN, "Forbidden")
            }
            (&Method::POST, ["apis", "events.k8s.io", ..]) => {
                stored.events.push(body["reason"].as_str().unwrap().to_owned());
                found(Some(body))
            }
            _ => refuse(StatusCode::NOT_FOUND, "NotFound"),
        })
    }
}

impl Stored {
    fn topic(&mut self, method: &Method, name: &str, rest: &[&str], body: &Value) -> Response<Body> {
        let Some(topic) = self.topics.get_mut(name) else {
            return refuse(StatusCode::NOT_FOUND, "NotFound");
        };
        if *method == Method::GET {
            return found(Some(topic));
        }
        self.version += 1;
        if rest == ["status"] {
            self.status_writes += 1;
            topic["status"] = body["status"].clone();
            topic["metadata"]["managedFields"] = json!([{"manager": "synapse-operator", "subresource": "status",
                "operation": "Apply", "apiVersion": "synapse.dev/v1alpha1", "fieldsType": "FieldsV1",
                "time": Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string()}]);
        } else {
            self.metadata_writes += 1;
            if body["metadata"]["resourceVersion"] != topic["metadata"]["resourceVersion"] {
                return refuse(StatusCode::CONFLICT, "Conflict");
            }
            topic["metadata"]["finalizers"] = body["metadata"]["finalizers"].clone();
        }
        topic["metadata"]["resourceVersion"] = (self.version + 1).to_string().into();
        let answer = topic.clone();
        let ended = answer["metadata"]["deletionTimestamp"].is_string()
            && answer["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if ended {
            self.topics.remove(name);
        }
        found(Some(&answer))
    }
}

fn found(value: Option<&Value>) -> Response<Body> {
    match value {
        Some(value) => Response::new(Body::from(serde_json::to_vec(value).unwrap())),
        None => refuse(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn refuse(code: StatusCode, reason: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": "scripted"});
    Response::builder().status(code).body(Body::from(serde_json::to_vec(&status).unwrap())).unwrap()
}
