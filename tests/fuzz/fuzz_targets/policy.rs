//! Policies as operators write them. What is taken is judged for a caller too, since evaluation meets the same text.

#![no_main]

use std::collections::BTreeMap;

use claviger_entity::{ApiKeyName, KeyName, KeyType, PolicyName, Tier, Usage};
use claviger_fuzz::{CPU_LIMIT, bounded_within};
use claviger_policy::{Engine, KeyFacts, Permission, PolicyDocument, PrincipalRef, ResourceRef};
use libfuzzer_sys::fuzz_target;

// Counters and debug assertions cost Cedar two to three times its own time.
fuzz_target!(init: prepare(), |data: &[u8]| bounded_within(3 * CPU_LIMIT, || run(data)));

/// The schema is read before an execution is measured.
fn prepare() {
    run(b"permit (principal, action, resource);");
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy: PolicyName = "p".parse().expect("a name");
    let document = match PolicyDocument::parse(&policy, text) {
        Ok(document) => document,
        Err(error) => {
            assert!(error.to_string().len() < 4_096, "an endless explanation");
            return;
        }
    };
    assert!(text.contains("permit") || text.contains("forbid"));
    let (name, key): (ApiKeyName, KeyName) = ("a".parse().expect("a name"), "k".parse().expect("a name"));
    let labels = BTreeMap::new();
    let facts = KeyFacts {
        name: &key,
        key_type: KeyType::Es256,
        usage: Usage::Token,
        tier: Tier::Signing,
        labels: &labels,
    };
    let engine = Engine::new([&document], false);
    let principal = PrincipalRef::ApiKey { id: uuid::Uuid::nil(), name: &name, roles: &[] };
    for permission in [Permission::KeyRead, Permission::TokenIssue] {
        let permitted = engine.permits(&principal, permission, &ResourceRef::Key(facts));
        assert!(!permitted || engine.might(&principal, permission), "permitted, though it can't be");
    }
    // Nobody is let in by a policy that only takes away.
    if !text.contains("permit") {
        assert!(!Permission::ALL.iter().any(|permission| engine.might(&principal, *permission)));
    }
}
