//! Every deletion ends, whatever is gone with it, and is called what it was.

use k8s_openapi::jiff::SignedDuration;

use super::*;

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
async fn a_deletion_that_meets_a_conflict_ends_and_is_called_what_it_was() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    let operator = operator(&api);
    visited(&api, &operator).await;
    api.mark_deleted("events", deleted_at());
    let stale = api.topic("events").unwrap();
    api.touch("events");
    let error = deletion::reconcile(&stale, &operator, deleted_at()).await.unwrap_err();
    let TopicError::Call(error) = error;
    assert!(error.is_conflict(), "{error}");
    assert_eq!(server.cli(&["DBSIZE"]), "0", "the stream is gone, and its claim with it");
    step(&api, &operator, MINUTE).await;
    assert!(api.topic("events").is_none());
    assert_eq!(api.events().last().unwrap(), "Deleted");
    assert!(!api.events().contains(&"NotDeleted".to_owned()), "{:?}", api.events());
}

#[tokio::test]
async fn removing_the_operator_takes_its_finalizers_along() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    visited(&api, &operator(&api)).await;
    assert_eq!(finalizer::release_all(&api.client()).await.unwrap(), 1);
    assert!(api.topic("events").unwrap().finalizers().is_empty());
}

#[tokio::test]
async fn a_topic_that_changes_while_it_is_let_go_is_let_go_all_the_same() {
    let server = RedisServer::start();
    let api = cluster(&server, "Delete");
    visited(&api, &operator(&api)).await;
    api.be_busy();
    assert_eq!(finalizer::release_all(&api.client()).await.unwrap(), 1);
    assert!(api.topic("events").unwrap().finalizers().is_empty());
}
