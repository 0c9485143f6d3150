//! Decisions about API keys and policies, as tables.

use chrono::{DateTime, TimeDelta};
use claviger_entity::HumanDuration;
use claviger_policy::{Permission, PolicyDocument, ResourceRef};
use uuid::Uuid;

use super::*;
use crate::keyring::record::Time;

fn now() -> Time {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn secret(byte: u8) -> NewSecret {
    NewSecret { text: format!("clv_{byte}").into(), hash: [byte; 32] }
}

fn create(id: u128, roles: &[&str], expires_at: Option<Time>) -> ApiKeyCommand {
    ApiKeyCommand::Create {
        id: Uuid::from_u128(id),
        name: "n".parse().unwrap(),
        roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
        expires_at,
        secret: secret(u8::try_from(id).unwrap()),
    }
}

fn empty() -> Access {
    Access::new(Vec::new(), Vec::new(), Manifest::new())
}

fn apply(access: &Access, command: ApiKeyCommand) -> Access {
    access.with_principal(command.decide(access, now()).unwrap().record)
}

fn put(access: &Access, name: &str, text: &str) -> Access {
    let name: claviger_entity::PolicyName = name.parse().unwrap();
    let document = Box::new(PolicyDocument::parse(&name, text).unwrap());
    let command =
        PolicyCommand::Put { name, text: text.to_owned(), document, description: None, if_match: None };
    let change = command.decide(access, access.manifest().len() as u64 + 1, now()).unwrap();
    access.with_policy(&change.name, change.record, change.manifest)
}

#[test]
fn tokens_are_known_until_they_are_rotated_expired_or_deleted() {
    let hour = TimeDelta::hours(1);
    let access = apply(&empty(), create(1, &["signer"], Some(now() + hour)));
    let access = apply(&access, create(9, &["admin"], None));
    let known = |access: &Access, byte: u8, at: Time| access.holder(&[byte; 32], at).is_some();
    assert!(known(&access, 1, now()) && !known(&access, 1, now() + hour) && !known(&access, 2, now()));

    let id = Uuid::from_u128(1);
    let overlap = HumanDuration::from_secs(60);
    let rotated = apply(&access, ApiKeyCommand::Rotate { id, overlap, secret: secret(2) });
    assert!(known(&rotated, 2, now()) && known(&rotated, 1, now()));
    assert!(
        !known(&rotated, 1, now() + TimeDelta::seconds(60))
            && known(&rotated, 2, now() + TimeDelta::seconds(60))
    );
    let at_once = ApiKeyCommand::Rotate { id, overlap: HumanDuration::from_secs(0), secret: secret(3) };
    let rotated = apply(&rotated, at_once);
    assert!(known(&rotated, 3, now()) && !known(&rotated, 2, now()) && !known(&rotated, 1, now()));

    let deleted = apply(&rotated, ApiKeyCommand::Delete { id });
    assert!((1..=3).all(|byte| !known(&deleted, byte, now())));
    assert!(deleted.api_key(id).is_none() && deleted.api_keys_after(None).count() == 1);
    for command in [ApiKeyCommand::Delete { id }, ApiKeyCommand::Rotate { id, overlap, secret: secret(4) }] {
        assert_eq!(command.decide(&deleted, now()).err(), Some(AccessError::ApiKeyNotFound));
    }
}

#[test]
fn the_last_lasting_administrator_stays() {
    let access = apply(&empty(), create(1, &["admin"], None));
    let access = apply(&access, create(2, &["admin"], Some(now() + TimeDelta::days(1))));
    let access = apply(&access, create(3, &["operator"], None));
    let delete = |id| ApiKeyCommand::Delete { id: Uuid::from_u128(id) };
    assert_eq!(delete(1).decide(&access, now()).err(), Some(AccessError::LastAdministrator));
    assert!(delete(2).decide(&access, now()).is_ok() && delete(3).decide(&access, now()).is_ok());
    let access = apply(&access, create(4, &["admin"], None));
    assert!(delete(1).decide(&access, now()).is_ok());
}

#[test]
fn requests_that_break_a_rule() {
    let access = apply(&empty(), create(1, &["admin"], None));
    let many: Vec<String> = (0..17).map(|role| format!("r{role}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let too_long = ApiKeyCommand::Rotate {
        id: Uuid::from_u128(1),
        overlap: HumanDuration::from_days(31),
        secret: secret(2),
    };
    for command in [create(5, &many, None), create(5, &[], Some(now())), too_long] {
        assert!(matches!(command.decide(&access, now()), Err(AccessError::Invalid(_))));
    }
    let document = Box::new(
        PolicyDocument::parse(&"x".parse().unwrap(), "permit (principal, action, resource);").unwrap(),
    );
    let put = |name: &str, if_match| PolicyCommand::Put {
        name: name.parse().unwrap(),
        text: String::new(),
        document: document.clone(),
        description: None,
        if_match,
    };
    assert!(matches!(put("claviger.admin", None).decide(&access, 9, now()), Err(AccessError::Invalid(_))));
    assert_eq!(put("p", Some(1)).decide(&access, 9, now()).err(), Some(AccessError::RevisionMismatch));
    let delete = PolicyCommand::Delete { name: "p".parse().unwrap(), if_match: None };
    assert_eq!(delete.decide(&access, 9, now()).err(), Some(AccessError::PolicyNotFound));
}

#[test]
fn a_policy_that_is_missing_closes_the_door_if_it_forbade_anything() {
    let granting = put(&empty(), "grant", "permit (principal, action, resource);");
    let both = put(
        &granting,
        "deny",
        "forbid (principal, action, resource) when { principal is Claviger::Subject };",
    );
    let name = "n".parse().unwrap();
    let somebody = claviger_policy::PrincipalRef::ApiKey { id: Uuid::from_u128(1), name: &name, roles: &[] };
    let may = |access: &Access| {
        access.engine().permits(&somebody, Permission::RandomGenerate, &ResourceRef::Deployment)
    };
    assert!(may(&granting) && may(&both));
    let records = |access: &Access, skip: &str| {
        access
            .policies_after(None)
            .filter(|policy| policy.name.as_str() != skip)
            .map(|p| PolicyRecord::clone(p))
            .collect()
    };
    let without_deny = Access::new(Vec::new(), records(&both, "deny"), both.manifest().clone());
    assert!(!may(&without_deny));
    assert_eq!(without_deny.missing().collect::<Vec<_>>(), ["deny"]);
    let without_grant = Access::new(Vec::new(), records(&both, "grant"), both.manifest().clone());
    assert!(!may(&without_grant));
    // Mended by writing it anew.
    assert!(may(&put(&without_deny, "deny", "forbid (principal is Claviger::Subject, action, resource);")));
    // A row that nobody wrote through the service is not obeyed.
    let smuggled = Access::new(Vec::new(), records(&granting, ""), Manifest::new());
    assert!(!may(&smuggled));
    assert_eq!(smuggled.strays().iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["grant"]);
    // A manifest without one that forbids closes the door too, until somebody says what is to become of it.
    let mut without = both.manifest().clone();
    without.remove("deny");
    let forgotten = Access::new(Vec::new(), records(&both, ""), without);
    assert!(!may(&forgotten));
    assert!(may(&put(&forgotten, "deny", "forbid (principal is Claviger::Subject, action, resource);")));
    // As does the row of an earlier revision.
    let narrower = put(&both, "deny", "forbid (principal, action, resource);");
    let rolled_back = Access::new(Vec::new(), records(&both, ""), narrower.manifest().clone());
    assert!(!may(&rolled_back));
    assert_eq!(rolled_back.missing().collect::<Vec<_>>(), ["deny"]);
}
