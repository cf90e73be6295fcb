//! Visits to one cache, against a scripted API server that counts what is written to it.

use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::runtime::reflector::store;
use kube::runtime::reflector::store::Writer;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use synapse_api::cache::SynapseCacheSpec;
use synapse_desired::inject::{Outcome, SIDECAR, World, inject};

use super::*;

/// What the server holds, and how often it was written.
#[derive(Default)]
struct Held {
    config_map: Option<Value>,
    status: Option<Value>,
    config_maps: usize,
    statuses: usize,
    events: Vec<String>,
    refuses_config_maps: bool,
}

struct Scene {
    held: Arc<Mutex<Held>>,
    work: Work,
    pods: Writer<Pod>,
    cache: SynapseCache,
}

fn installed() -> Installed {
    Installed { image: "sidecar:1".into(), pull_policy: None, version: "1".into() }
}

async fn answer(held: &Mutex<Held>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let sent: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
    let mut held = held.lock().unwrap();
    let path = parts.uri.path();
    if parts.method == Method::PATCH && path.contains("/configmaps/") && held.refuses_config_maps {
        let status = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "exceeded quota", "code": 403});
        let answer = Response::builder().status(StatusCode::FORBIDDEN);
        return answer.body(Body::from(status.to_string().into_bytes())).unwrap();
    }
    let found = match (&parts.method, path) {
        (&Method::GET, path) if path.contains("/configmaps/") => held.config_map.clone(),
        (&Method::PATCH, path) if path.contains("/configmaps/") => {
            held.config_maps += 1;
            held.config_map = Some(sent.clone());
            Some(sent)
        }
        (&Method::PATCH, path) if path.ends_with("/synapsecaches/catalog/status") => {
            held.statuses += 1;
            held.status = Some(sent["status"].clone());
            Some(json!({"metadata": {"name": "catalog"}, "spec": {}, "status": sent["status"]}))
        }
        (&Method::POST, path) if path.ends_with("/events") => {
            held.events.push(sent["reason"].as_str().unwrap_or_default().to_owned());
            Some(sent)
        }
        _ => panic!("nobody should ask for {} {path}", parts.method),
    };
    let missing =
        json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "", "code": 404});
    let (code, body) = found.map_or((StatusCode::NOT_FOUND, missing), |found| (StatusCode::OK, found));
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

impl Scene {
    fn new() -> Self {
        let held = Arc::new(Mutex::new(Held::default()));
        let server = Arc::clone(&held);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(answer(&server, request).await) }
        });
        let client = Client::new(service, "shop");
        let caches = Caches {
            client: client.clone(),
            reports: Reports::new(client, "operator-1"),
            pool: Arc::default(),
            resync: Duration::from_secs(60),
            installed: installed(),
            webhook: "synapse-injector".into(),
            namespaces: store().0,
            state: Arc::new(State::register(&mut Registry::default())),
            figures: Figures::default(),
        };
        let (injected, pods) = store();
        let (naked, _) = naked::watch(&caches);
        let mut cache = SynapseCache::new("catalog", SynapseCacheSpec::default());
        cache.metadata.namespace = Some("shop".into());
        cache.metadata.uid = Some("uid".into());
        cache.metadata.generation = Some(1);
        Self { held, work: Work { caches, injected, naked, backoff: Backoff::default() }, pods, cache }
    }

    /// One visit, after which the watch brings what was written. The writes so far: ConfigMaps, statuses.
    async fn visit(&mut self) -> (usize, usize) {
        visit(&self.cache, &self.work).await.unwrap();
        let held = self.held.lock().unwrap();
        self.cache.status = held.status.clone().map(|status| serde_json::from_value(status).unwrap());
        (held.config_maps, held.statuses)
    }

    fn pod(&mut self, ready: bool) {
        self.pod_called("web", ready);
    }

    fn pod_called(&mut self, name: &str, ready: bool) {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "shop", "annotations": {names::INJECT: "catalog"}},
            "spec": {"containers": [{"name": "app", "image": "a"}]},
            "status": {"phase": "Running", "initContainerStatuses": [
                {"name": SIDECAR, "ready": ready, "restartCount": 0, "image": "i", "imageID": ""}
            ]}
        });
        let world = World {
            namespace: "shop",
            namespace_label: None,
            caches: None,
            bounds: None,
            installed: &installed(),
        };
        let Outcome::Injected(injected) = inject(&pod, &world) else { panic!("not injected") };
        let patch = serde_json::to_value(&injected.patch).unwrap();
        for operation in patch.as_array().unwrap() {
            // Of the patch, only what is observed: the sidecar, the label and the status annotation.
            let at = operation["path"].as_str().unwrap();
            match at {
                "/spec/initContainers" => pod["spec"]["initContainers"] = operation["value"].clone(),
                "/metadata/labels" => pod["metadata"]["labels"] = operation["value"].clone(),
                "/metadata/annotations/synapse.dev~1status" => {
                    pod["metadata"]["annotations"][names::STATUS] = operation["value"].clone();
                }
                _ => {}
            }
        }
        self.pods.apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(pod).unwrap()));
    }
}

#[tokio::test]
async fn writes_once_then_only_what_changed_and_nothing_at_rest() {
    let mut scene = Scene::new();
    assert_eq!(scene.visit().await, (1, 1));
    for _ in 0..50 {
        assert_eq!(scene.visit().await, (1, 1));
    }
    scene.pod(false);
    assert_eq!(scene.visit().await, (1, 2));
    assert_eq!(scene.visit().await, (1, 2));
    scene.pod(true);
    assert_eq!(scene.visit().await, (1, 3));
    assert_eq!(scene.visit().await, (1, 3));
    let held = scene.held.lock().unwrap();
    assert_eq!(held.events, ["NoPods", "PodsNotReady", "AsDesired"]);
}

#[tokio::test]
async fn the_state_shows_the_cache_and_the_registry_its_pods_until_it_is_gone() {
    let mut scene = Scene::new();
    scene.pod(true);
    scene.visit().await;
    let state = Arc::clone(&scene.work.caches.state);
    let caches = serde_json::to_value(state.caches()).unwrap();
    assert_eq!(caches[0]["name"], "catalog");
    assert_eq!(caches[0]["pods"]["ready"], 1);
    let running = serde_json::to_value(state.running()).unwrap();
    assert_eq!(running[0]["pod"], "web");
    assert_eq!((&running[0]["cache"], &running[0]["ready"]), (&json!("catalog"), &json!(true)));
    state.forget_cache("shop", "catalog");
    assert!(state.caches().is_empty() && state.running().is_empty());
}

#[tokio::test]
async fn a_config_map_that_others_changed_is_put_right() {
    let mut scene = Scene::new();
    scene.visit().await;
    scene.held.lock().unwrap().config_map.as_mut().unwrap()["data"] = json!({"sidecar.yaml": "memory: {}"});
    assert_eq!(scene.visit().await, (2, 1));
    scene.held.lock().unwrap().config_map = None;
    assert_eq!(scene.visit().await, (3, 1));
    let held = scene.held.lock().unwrap();
    let text = held.config_map.as_ref().unwrap()["data"]["sidecar.yaml"].as_str().unwrap().to_owned();
    let revision = held.status.as_ref().unwrap()["revision"].as_str().unwrap().to_owned();
    assert!(text.contains(&revision), "{text}");
}

#[tokio::test]
async fn a_spec_that_no_sidecar_could_use_leaves_what_is_mounted() {
    let mut scene = Scene::new();
    scene.visit().await;
    scene.cache.spec = serde_json::from_value(json!({"memory": {"capacity": "1k"}})).unwrap();
    assert_eq!(scene.visit().await, (1, 2));
    let held = scene.held.lock().unwrap();
    assert_eq!(held.events.last().map(String::as_str), Some("InvalidSpec"));
}

#[tokio::test]
async fn a_config_map_that_is_refused_is_said_and_hides_nothing() {
    let mut scene = Scene::new();
    scene.pod(true);
    scene.held.lock().unwrap().refuses_config_maps = true;
    let error = visit(&scene.cache, &scene.work).await.unwrap_err();
    assert!(error.is_forbidden(), "tried again: {error}");
    let held = scene.held.lock().unwrap();
    let status = held.status.as_ref().unwrap();
    assert_eq!(status["conditions"][0]["reason"], "ConfigMapRefused");
    assert_eq!(status["pods"]["ready"], 1);
}

#[tokio::test]
async fn numbers_of_pods_are_written_a_moment_later_and_answers_at_once() {
    let mut scene = Scene::new();
    scene.pod_called("web", true);
    assert_eq!(scene.visit().await, (1, 1));
    scene.cache.metadata.managed_fields = Some(vec![
        serde_json::from_value(json!({
            "manager": FIELD_MANAGER, "subresource": "status", "time": Timestamp::now().to_string(),
        }))
        .unwrap(),
    ]);
    scene.pod_called("web-2", true);
    assert_eq!(scene.visit().await, (1, 1), "one pod more");
    scene.pod_called("web-3", false);
    assert_eq!(scene.visit().await, (1, 2), "one that does not answer");
    let status = scene.held.lock().unwrap().status.clone().unwrap();
    assert_eq!(status["pods"]["injected"], 3);
}
