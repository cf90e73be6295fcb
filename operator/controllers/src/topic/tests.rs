//! Topics against a real Redis and a scripted API server: what is written when, and that every deletion ends.

#[path = "fake_api.rs"]
mod fake_api;
#[path = "../../tests/support/redis_server.rs"]
mod redis_server;

use super::*;
use fake_api::FakeApi;
use k8s_openapi::jiff::SignedDuration;
use prometheus_client::registry::Registry;
use redis_server::RedisServer;
use serde_json::json;

/// An operator that has just started.
fn operator(api: &FakeApi) -> Topics {
    let client = api.client();
    let state = Arc::new(State::register(&mut Registry::default()));
    let reports = Reports::new(client.clone(), "operator-0");
    Topics::new(client, reports, Arc::new(Pool::default()), "c1".into(), Duration::from_secs(60), state)
}

/// A cluster with one topic, whose url is in a Secret.
fn cluster(server: &RedisServer, policy: &str) -> FakeApi {
    let api = FakeApi::new();
    api.put_secret("redis", "url", &server.url());
    api.put_topic("events", json!({
        "broker": {"redis": {"connection": {"urlFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}}}},
        "consumerGroups": [{"name": "g", "startFrom": "Earliest"}],
        "deletionPolicy": policy,
    }));
    api
}

async fn visited(api: &FakeApi, operator: &Topics) {
    visit(&api.topic("events").unwrap(), operator).await.unwrap();
}

fn deleted_at() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// One step of the deletion, so long after it began.
async fn step(api: &FakeApi, operator: &Topics, after: Duration) {
    api.mark_deleted("events", deleted_at());
    let now = deleted_at() + SignedDuration::try_from(after).unwrap();
    deletion::reconcile(&api.topic("events").unwrap(), operator, now).await.unwrap();
}

const MINUTE: Duration = Duration::from_secs(60);
const AN_HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_topic_is_written_once_and_at_rest_not_again() {
    let server = RedisServer::start();
    let (api, events) = (cluster(&server, "Retain"), "events");
    let operator = operator(&api);
    visited(&api, &operator).await;
    assert_eq!(api.condition(events, "Ready"), ("True".into(), "AsDesired".into()));
    assert_eq!(api.status_writes(), 1);
    for _ in 0..5 {
        visited(&api, &operator).await;
    }
    assert_eq!((api.status_writes(), api.metadata_writes()), (1, 0));
    assert_eq!(api.events(), ["AsDesired"]);
}

#[tokio::test]
async fn under_traffic_the_first_entry_is_told_and_the_rest_waits() {
    let server = RedisServer::start();
    let api = cluster(&server, "Retain");
    let operator = operator(&api);
    visited(&api, &operator).await;
    for _ in 0..10 {
        server.add("events", 50);
        visited(&api, &operator).await;
    }
    assert_eq!(api.status_writes(), 2);
    assert_eq!(api.topic("events").unwrap().status.unwrap().entries, Some(50));
    assert_eq!(serde_json::to_value(operator.state.topics()).unwrap()[0]["entries"], 500, "exact elsewhere");
}

#[tokio::test]
async fn the_loser_of_a_claim_names_the_winner() {
    let server = RedisServer::start();
    let api = cluster(&server, "Retain");
    let operator = operator(&api);
    visited(&api, &operator).await;
    let mut second = serde_json::to_value(&api.topic("events").unwrap().spec).unwrap();
    second["name"] = "events".into();
    api.put_topic("other", second);
    visit(&api.topic("other").unwrap(), &operator).await.unwrap();
    assert_eq!(api.condition("other", "Conflict"), ("True".into(), "ClaimedByOther".into()));
    assert!(api.message("other", "Conflict").contains("apps/events"));
    // Once the winner is gone its claim is void, and the stream can be adopted.
    api.remove_topic("events");
    visit(&api.topic("other").unwrap(), &operator).await.unwrap();
    assert_eq!(api.condition("other", "Conflict"), ("True".into(), "NotAdopted".into()));
    api.set("other", "adoption", "Adopt");
    visit(&api.topic("other").unwrap(), &operator).await.unwrap();
    assert_eq!(api.condition("other", "Ready"), ("True".into(), "AsDesired".into()));
}

#[tokio::test]
async fn a_missing_secret_and_a_broker_that_is_gone_are_told_apart() {
    let mut server = RedisServer::start();
    let api = cluster(&server, "Retain");
    let operator = operator(&api);
    api.remove_secret("redis");
    visited(&api, &operator).await;
    assert_eq!(api.condition("events", "Ready"), ("False".into(), "SecretNotFound".into()));
    api.put_secret("redis", "url", &server.url());
    server.stop();
    visited(&api, &operator).await;
    assert_eq!(api.condition("events", "Ready"), ("False".into(), "BrokerUnreachable".into()));
    assert_eq!(api.condition("events", "Provisioned"), ("Unknown".into(), "BrokerUnreachable".into()));
}

/// One look at the topic: nothing if it is Ready now, else how soon the next look comes.
async fn look(api: &FakeApi, operator: &Topics) -> Option<Duration> {
    let topic = api.topic("events").unwrap();
    let wanted = wanted("events", &topic.spec).unwrap();
    let provisioned = bring(&topic, operator, &wanted).await;
    tell(&topic, operator, Some(&wanted), &provisioned).await.unwrap();
    let ready = matches!(provisioned.outcome, Outcome::Worked { .. });
    (!ready).then(|| again(&topic, operator, &provisioned))
}

#[tokio::test]
async fn a_broker_or_secret_that_appears_is_found_by_the_next_look_which_comes_soon() {
    let mut server = RedisServer::start();
    server.stop();
    let api = cluster(&server, "Retain");
    let operator = operator(&api);
    for _ in 0..8 {
        let pause = look(&api, &operator).await.unwrap();
        assert!(pause <= Duration::from_secs(12), "{pause:?}");
        assert_eq!(api.condition("events", "Ready").1, "BrokerUnreachable");
    }
    server.restart();
    // Nothing in between: what is told next must not be the outcome of an older attempt.
    assert_eq!(look(&api, &operator).await, None);
    api.remove_secret("redis");
    visited(&api, &operator).await;
    assert_eq!(api.condition("events", "Ready").1, "SecretNotFound");
    api.put_secret("redis", "url", &server.url());
    assert_eq!(look(&api, &operator).await, None);
}

#[tokio::test]
async fn a_password_that_rotates_is_read_anew_and_one_that_is_put_right_works_again() {
    let server = RedisServer::start();
    let (api, user) = (cluster(&server, "Retain"), ["ACL", "SETUSER", "op", "on", "~*", "&*", "+@all"]);
    let now_is = |password: &str| {
        let password = format!(">{password}");
        server.cli(&[&user[..], &["resetpass", &password]].concat());
        server.cli(&["CLIENT", "KILL", "USER", "op"]);
    };
    let secret_says = |password: &str| {
        api.put_secret("redis", "url", &format!("{}?user=op&pass={password}", server.url()));
    };
    now_is("one");
    secret_says("one");
    let operator = operator(&api);
    assert_eq!(look(&api, &operator).await, None);
    now_is("two");
    let mut looks = 0;
    while api.condition("events", "Ready").1 != "BrokerRefused" {
        visited(&api, &operator).await;
        looks += 1;
        assert!(looks < 4, "{:?}", api.condition("events", "Ready"));
    }
    let said = api.message("events", "Ready");
    assert!(said.contains("credentials") && !said.contains("one"), "{said}");
    secret_says("two");
    assert_eq!(look(&api, &operator).await, None, "the Secret rotated too");
    secret_says("three");
    visited(&api, &operator).await;
    assert_eq!(api.condition("events", "Ready").1, "BrokerRefused");
    now_is("three");
    assert_eq!(look(&api, &operator).await, None, "the same url was refused before");
}

#[tokio::test]
async fn the_finalizer_follows_the_policy() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    let operator = operator(&api);
    visited(&api, &operator).await;
    assert_eq!(api.topic("events").unwrap().finalizers(), [finalizer::FINALIZER]);
    api.set("events", "deletionPolicy", "Retain");
    visited(&api, &operator).await;
    assert!(api.topic("events").unwrap().finalizers().is_empty());
}

#[tokio::test]
async fn delete_deletes_the_stream_and_the_claim() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.add("events", 3);
    step(&api, &operator, Duration::ZERO).await;
    assert!(api.topic("events").is_none());
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_drained_deletion_waits_for_the_group_and_says_so() {
    let server = RedisServer::start();
    let api = cluster(&server, "DeleteWhenDrained");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.add("events", 3);
    step(&api, &operator, MINUTE).await;
    assert_eq!(api.condition("events", "Draining"), ("True".into(), "WaitingForGroups".into()));
    assert!(api.message("events", "Draining").contains("group g"));
    server.cli(&["XREADGROUP", "GROUP", "g", "c", "NOACK", "STREAMS", "events", ">"]);
    step(&api, &operator, MINUTE).await;
    assert!(api.topic("events").is_none());
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_deletion_that_is_never_drained_ends_with_the_default_deadline_and_retains() {
    let server = RedisServer::start();
    let api = cluster(&server, "DeleteWhenDrained");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.add("events", 3);
    step(&api, &operator, AN_HOUR - Duration::from_secs(1)).await;
    assert!(api.topic("events").is_some());
    step(&api, &operator, AN_HOUR).await;
    assert!(api.topic("events").is_none());
    assert_eq!(server.cli(&["EXISTS", "events", "synapse:owner:events"]), "1", "retained, and nobody's");
    assert!(api.events().contains(&"DeadlinePassed".to_owned()));
}

#[tokio::test]
async fn a_deletion_ends_when_the_broker_is_gone() {
    let mut server = RedisServer::start();
    let api = cluster(&server, "Delete");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.stop();
    step(&api, &operator, MINUTE).await;
    assert_eq!(api.condition("events", "Draining").0, "Unknown");
    step(&api, &operator, AN_HOUR).await;
    assert!(api.topic("events").is_none());
}

#[tokio::test]
async fn a_deletion_goes_on_when_the_broker_returns() {
    let mut server = RedisServer::start();
    let api = cluster(&server, "DeleteWhenDrained");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.stop();
    step(&api, &operator, MINUTE).await;
    server.restart();
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while api.topic("events").is_some() {
        assert!(tokio::time::Instant::now() < patience, "the deletion does not go on");
        step(&api, &operator, MINUTE).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(api.events().contains(&"Deleted".to_owned()), "{:?}", api.events());
}

#[tokio::test]
async fn a_deletion_whose_secret_is_gone_uses_the_connection_that_worked() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    let operator = operator(&api);
    visited(&api, &operator).await;
    api.remove_secret("redis");
    step(&api, &operator, MINUTE).await;
    assert!(api.topic("events").is_none());
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_deletion_whose_secret_was_overwritten_uses_the_connection_that_worked() {
    for wrong in ["no url at all", "unix:///nowhere/redis.sock"] {
        let server = RedisServer::start();
        let api = cluster(&server, "Delete");
        let operator = operator(&api);
        visited(&api, &operator).await;
        api.put_secret("redis", "url", wrong);
        step(&api, &operator, MINUTE).await;
        assert!(api.topic("events").is_none());
        assert_eq!(server.cli(&["DBSIZE"]), "0");
    }
}

#[tokio::test]
async fn a_deletion_whose_secret_is_gone_ends_after_a_restart_of_the_operator_too() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    visited(&api, &operator(&api)).await;
    api.remove_secret("redis");
    let restarted = operator(&api);
    step(&api, &restarted, MINUTE).await;
    assert_eq!(api.condition("events", "Ready").1, "SecretNotFound");
    step(&api, &restarted, AN_HOUR).await;
    assert!(api.topic("events").is_none());
}

#[tokio::test]
async fn a_deletion_ends_in_a_namespace_that_is_going_and_takes_no_events() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    let operator = operator(&api);
    visited(&api, &operator).await;
    api.refuse_events();
    step(&api, &operator, MINUTE).await;
    assert!(api.topic("events").is_none());
}

#[tokio::test]
async fn a_deletion_ends_when_the_right_to_read_secrets_is_gone() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    visited(&api, &operator(&api)).await;
    api.forbid_secrets();
    step(&api, &operator(&api), AN_HOUR).await;
    assert!(api.topic("events").is_none());
}

#[tokio::test]
async fn what_belongs_to_someone_else_survives_the_deletion() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.cli(&["SET", "synapse:owner:events", r#"{"cluster":"c2","namespace":"x","name":"y"}"#]);
    step(&api, &operator, MINUTE).await;
    assert!(api.topic("events").is_none());
    assert_eq!(server.cli(&["EXISTS", "events"]), "1");
    assert!(api.events().contains(&"NotDeleted".to_owned()));
}

#[tokio::test]
async fn a_retained_stream_is_given_back_when_its_object_is_gone() {
    let server = RedisServer::start();
    let api = cluster(&server, "Retain");
    let operator = operator(&api);
    visited(&api, &operator).await;
    known::sweep(&operator, |_, _| true).await;
    assert_eq!(server.cli(&["EXISTS", "synapse:owner:events"]), "1");
    known::sweep(&operator, |_, _| false).await;
    assert_eq!(
        server.cli(&["EXISTS", "events", "synapse:owner:events"]),
        "1",
        "the stream stays, the claim goes"
    );
    assert!(operator.state.topics().is_empty());
}

#[tokio::test]
async fn an_object_made_anew_keeps_the_claim_that_is_given_back_for_the_old_one() {
    let server = RedisServer::start();
    let api = cluster(&server, "Retain");
    let before = operator(&api);
    visited(&api, &before).await;
    let spec = serde_json::to_value(&api.topic("events").unwrap().spec).unwrap();
    api.put_topic_as("events", "another-uid", spec);
    let operator = operator(&api);
    visited(&api, &operator).await;
    // The watch that told of the deletion was slow: the old object's claim is given back only now.
    known::sweep(&before, |_, _| false).await;
    visited(&api, &operator).await;
    assert_eq!(api.condition("events", "Ready").1, "AsDesired");
}

#[tokio::test]
async fn a_topic_that_moves_to_another_broker_leaves_no_claim_behind() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let api = cluster(&old, "Retain");
    let operator = operator(&api);
    visited(&api, &operator).await;
    api.put_secret("redis", "url", &new.url());
    visited(&api, &operator).await;
    assert_eq!(old.cli(&["EXISTS", "synapse:owner:events"]), "0");
    assert_eq!(old.cli(&["EXISTS", "events"]), "1", "entries stay");
    assert_eq!(new.cli(&["EXISTS", "synapse:owner:events"]), "1");
}

#[tokio::test]
async fn names_of_groups_that_nobody_could_show_hold_no_status_up() {
    let server = RedisServer::start();
    let api = cluster(&server, "Retain");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.cli(&["XGROUP", "CREATE", "events", &"a".repeat(600), "$"]);
    server.cli(&["EVAL", r"return redis.call('XGROUP', 'CREATE', 'events', '\255\254', '$')", "0"]);
    server.add("events", 3);
    visited(&api, &operator).await;
    let status = api.topic("events").unwrap().status.unwrap();
    assert_eq!(
        (status.groups.as_deref(), api.condition("events", "Ready").1.as_str()),
        (Some("g"), "AsDesired")
    );
    assert_eq!(
        server.cli(&["XINFO", "STREAM", "events"]).lines().skip_while(|line| *line != "groups").nth(1),
        Some("3")
    );
}

#[tokio::test]
async fn a_group_that_was_destroyed_is_an_event() {
    let server = RedisServer::start();
    let api = cluster(&server, "Retain");
    let operator = operator(&api);
    visited(&api, &operator).await;
    server.cli(&["XGROUP", "DESTROY", "events", "g"]);
    visited(&api, &operator).await;
    assert_eq!(api.events(), ["AsDesired", "DriftRepaired"]);
    assert_eq!(api.condition("events", "Drifted").0, "False");
}

#[tokio::test]
async fn removing_the_operator_takes_its_finalizers_along() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    visited(&api, &operator(&api)).await;
    assert_eq!(finalizer::release_all(&api.client()).await.unwrap(), 1);
    assert!(api.topic("events").unwrap().finalizers().is_empty());
}
