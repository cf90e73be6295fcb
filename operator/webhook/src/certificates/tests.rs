//! A life of the certificates, with a clock that is handed in.

use super::*;

const NOW: i64 = 1_800_000_000;

fn hosts() -> Vec<String> {
    vec![
        "synapse-webhook.synapse-system.svc".into(),
        "synapse-webhook.synapse-system.svc.cluster.local".into(),
    ]
}

fn step(material: &Material, now: i64) -> (Plan, Material) {
    let plan = plan(Some(material), &hosts(), now);
    (plan, Material::follow(Some(material), plan, &hosts(), now).unwrap())
}

fn made(now: i64) -> Material {
    Material::follow(None, Plan::Make, &hosts(), now).unwrap()
}

fn trusted(bundle: &Material, served: &Material, now: i64) -> bool {
    hosts().iter().all(|host| verifies(&bundle.bundle(), &served.certificate, host, now))
}

#[test]
fn nothing_becomes_a_certificate_that_its_bundle_verifies() {
    assert_eq!(plan(None, &hosts(), NOW), Plan::Make);
    let material = made(NOW);
    assert_eq!(plan(Some(&material), &hosts(), NOW), Plan::Keep);
    assert!(trusted(&material, &material, NOW));
    assert!(!verifies(&material.bundle(), &material.certificate, "other.svc", NOW));
    assert!(!trusted(&made(NOW), &material, NOW));
}

#[test]
fn a_certificate_is_replaced_before_it_ends_under_the_same_authority() {
    let material = made(NOW);
    let late = NOW + LEAF_LIFE - LEAF_RENEWAL + 1;
    let (plan, renewed) = step(&material, late);
    assert_eq!(plan, Plan::SignLeaf);
    assert_eq!(renewed.authorities, material.authorities);
    // Whatever mix of replicas and bundles there is, it verifies.
    assert!(trusted(&material, &renewed, late) && trusted(&renewed, &material, late));
}

#[test]
fn a_new_authority_is_published_before_it_signs_and_the_old_one_outlasts_what_it_signed() {
    let mut material = made(NOW);
    let mut now = NOW;
    let mut plans = Vec::new();
    // Three years in steps of half an hour would be slow; a day is enough except around a change.
    while plans.iter().filter(|plan| **plan == Plan::DropAuthorities).count() < 1 {
        let (plan, next) = step(&material, now);
        assert!(trusted(&next, &next, now), "at {now}");
        assert!(trusted(&material, &next, now), "a bundle that is one step behind, at {now}");
        assert!(trusted(&next, &material, now), "a replica that is one step behind, at {now}");
        if plan != Plan::Keep {
            plans.push(plan);
        }
        now += if material.authorities.len() + next.authorities.len() > 2 { OVERLAP / 2 } else { DAY };
        material = next;
        assert!(now < NOW + AUTHORITY_LIFE, "no rotation within an authority's life: {plans:?}");
    }
    let tail: Vec<_> = plans.iter().skip_while(|plan| **plan == Plan::SignLeaf).copied().collect();
    assert_eq!(tail, [Plan::AddAuthority, Plan::SignLeaf, Plan::DropAuthorities]);
}

#[test]
fn what_cannot_be_used_is_made_anew() {
    let material = made(NOW);
    let broken = Material { certificate: "nonsense".into(), ..material.clone() };
    let foreign = Material { certificate: made(NOW).certificate, ..material.clone() };
    assert_eq!(plan(Some(&broken), &hosts(), NOW), Plan::Make);
    assert_eq!(plan(Some(&foreign), &hosts(), NOW), Plan::Make);
    assert_eq!(plan(Some(&material), &["other.svc".into()], NOW), Plan::Make);
    assert_eq!(plan(Some(&material), &hosts(), NOW + LEAF_LIFE), Plan::Make);
    assert_eq!(plan(Some(&material), &hosts(), NOW - 2 * CLOCK_SKEW), Plan::Make);
}
