//! Plans, from nothing to everything that may have gone astray.

use super::*;

pub(super) fn wanted_with(drift: Drift, groups: &[&str]) -> Wanted {
    Wanted {
        stream: "s".into(),
        groups: groups.iter().map(|g| ((*g).to_owned(), "$".to_owned())).collect(),
        limits: None,
        drift,
        adopt: false,
    }
}

fn marker(groups: &[(&str, &str)]) -> Marker {
    Marker {
        owner: Owner { cluster: "c".into(), namespace: "n".into(), name: "t".into() },
        uid: "u".into(),
        provisioned: !groups.is_empty(),
        groups: groups.iter().map(|(g, p)| ((*g).to_owned(), (*p).to_owned())).collect(),
    }
}

fn seen(groups: &[&str]) -> Seen {
    let groups = groups.iter().map(|g| Group { name: (*g).to_owned(), ..Group::default() });
    Seen { exists: true, groups: groups.collect(), ..Seen::default() }
}

fn create(name: &str, after: &str) -> Step {
    Step::CreateGroup { name: name.into(), after: after.into() }
}

#[test]
fn makes_groups_that_never_were_whatever_drift_says() {
    for drift in [Drift::Enforce, Drift::Report, Drift::Ignore] {
        let plan = plan(&wanted_with(drift, &["a", "b"]), &marker(&[]), &Seen::default());
        assert_eq!(plan.steps, [create("a", "$"), create("b", "$")]);
        assert!(plan.differences.is_empty());
    }
}

#[test]
fn makes_a_stream_that_has_no_group() {
    let plan = plan(&wanted_with(Drift::Enforce, &[]), &marker(&[]), &Seen::default());
    assert_eq!(plan.steps, [Step::CreateStream]);
}

#[test]
fn a_destroyed_group_comes_back_where_it_was() {
    let plan = plan(
        &wanted_with(Drift::Enforce, &["a", "b"]),
        &marker(&[("a", "7-1"), ("b", "9-0")]),
        &seen(&["b"]),
    );
    assert_eq!(plan.steps, [create("a", "7-1")]);
    assert_eq!(plan.differences, [Difference::GroupMissing("a".into())]);
}

#[test]
fn reported_drift_is_left_and_ignored_drift_is_not_even_said() {
    let known = marker(&[("a", "7-1")]);
    let reported = plan(&wanted_with(Drift::Report, &["a"]), &known, &seen(&[]));
    assert_eq!((reported.steps, reported.differences.len()), (vec![], 1));
    assert_eq!(plan(&wanted_with(Drift::Ignore, &["a"]), &known, &seen(&[])), Plan::default());
}

#[test]
fn a_lost_stream_begins_anew() {
    let plan = plan(&wanted_with(Drift::Enforce, &["a"]), &marker(&[("a", "7-1")]), &Seen::default());
    assert_eq!(plan.steps, [create("a", "0")]);
    assert_eq!(plan.differences, [Difference::StreamMissing, Difference::GroupMissing("a".into())]);
}

#[test]
fn a_group_that_nobody_listed_is_no_business_of_ours() {
    assert_eq!(plan(&wanted_with(Drift::Enforce, &[]), &marker(&[]), &seen(&["theirs"])), Plan::default());
}

#[test]
fn remembers_where_each_group_would_go_on_and_forgets_what_is_no_longer_listed() {
    let mut seen = seen(&["a", "b", "c"]);
    seen.groups[0].delivered = "9-4".into();
    seen.groups[1] =
        Group { delivered: "9-4".into(), oldest_pending: Some("8-0".into()), ..seen.groups[1].clone() };
    let marker = remembered(
        &marker(&[("gone", "1-1"), ("old", "2-2")]),
        &wanted_with(Drift::Enforce, &["a", "b", "gone"]),
        &seen,
    );
    let expected = [("a", "9-4"), ("b", "7-18446744073709551615"), ("gone", "1-1")];
    assert_eq!(marker.groups.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn reads_a_spec() {
    let spec = serde_json::json!({"broker": {"redis": {"connection": {"url": "redis://r"}}},
        "retention": {"entries": 5, "age": "1h30m", "unread": "Trim"},
        "consumerGroups": [{"name": "a"}, {"name": "b", "startFrom": "Earliest"}, {"name": "c", "startFrom": "17-1"}]});
    let wanted = wanted("events", &serde_json::from_value(spec).unwrap()).unwrap();
    assert_eq!(wanted.stream, "events");
    assert_eq!(wanted.groups.iter().map(|g| g.1.as_str()).collect::<Vec<_>>(), ["$", "0", "17-1"]);
    let limits = Limits { entries: Some(5), age: Some(Duration::from_secs(5400)), protect: false };
    assert_eq!((wanted.limits, wanted.drift, wanted.adopt), (Some(limits), Drift::Enforce, false));
}

#[test]
fn a_stream_without_groups_that_is_gone_is_a_difference() {
    let was_there = Marker { provisioned: true, ..marker(&[]) };
    for (drift, differs, makes) in
        [(Drift::Enforce, true, true), (Drift::Report, true, false), (Drift::Ignore, false, false)]
    {
        let plan = plan(&wanted_with(drift, &[]), &was_there, &Seen::default());
        assert_eq!(plan.differences == [Difference::StreamMissing], differs, "{drift:?}");
        assert_eq!(plan.steps == [Step::CreateStream], makes, "{drift:?}");
    }
    let first = plan(&wanted_with(Drift::Report, &[]), &marker(&[]), &Seen::default());
    assert_eq!((first.differences, first.steps), (vec![], vec![Step::CreateStream]));
    assert!(remembered(&marker(&[]), &wanted_with(Drift::Report, &[]), &seen(&[])).provisioned);
}
