//! On a real file.

use super::*;
use crate::{
    alerts::{Routing, Rule},
    store::testing::{at, open},
};

/// What a node sees that looks at this moment.
fn seen(node: &Scribe, seconds: i64) -> Sighting {
    let alert = AlertRecord {
        id: Uuid::now_v7(),
        rule: Rule::KeyExpiry,
        subject: "api_key 1".to_owned(),
        severity: Severity::Warning,
        summary: "it ends".to_owned(),
        value: 1,
        raised_by: node.node.clone(),
        raised_at: at(seconds),
        acknowledged: None,
        escalated_at: None,
        cleared_at: None,
    };
    Sighting { alert }
}

#[actix::test]
async fn what_is_over_is_not_raised_by_who_looked_before() {
    let (_folder, database, keychain) = open().await;
    let node =
        |name: &str| Scribe { node: name.to_owned(), runbook: "".into(), routing: Routing::default().into() };
    let (quick, slow) = (node("quick"), node("slow"));
    let doer = Doer::monitor(1);
    let about = [seen(&quick, 0).alert.about()];
    let sight = async |node: &Scribe, seconds| {
        database.sight_alert((&keychain, node), seen(node, seconds), &doer).await.unwrap().is_some()
    };
    let settle = async |node: &Scribe, gone: &[About], seconds| {
        database.settle_alerts((&keychain, node), (gone, &[]), &doer, at(seconds)).await.unwrap().len()
    };
    assert!(sight(&quick, 100).await);
    assert_eq!(settle(&quick, &about, 102).await, 1);
    // It looked before that, or with a ring of before, and comes only now.
    assert!(!sight(&slow, 101).await);
    assert!(!sight(&slow, 106).await);
    assert_eq!(settle(&slow, &about, 106).await, 0);
    // Somebody sees it still, or anew.
    assert!(sight(&slow, 108).await);
    assert_eq!(settle(&slow, &about, 9_000).await, 1);
    // A clock that is far ahead has said so: nobody waits until then.
    assert!(sight(&slow, 120).await);
}
