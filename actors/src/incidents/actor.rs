//! The actor that runs playbooks, on a thread of its own: no flood of requests delays it. While none runs it waits for a change of the ring and
//! asks the database nothing.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use actix::prelude::*;

use super::{
    IncidentRecord, Notice, Principal, Target, UseRecord,
    handle::Shared,
    run::{self, Ran},
    uses::{self, Wanted},
};
use crate::{
    events::{Event, EventName},
    store::{Database, StoreError},
};

/// Pause between two looks at a playbook that somebody else runs, or that waits.
const AGAIN: Duration = Duration::from_millis(300);
/// Incidents that are remembered as looked for.
const GATHERED_MAX: usize = 2_000;

pub(super) struct IncidentRunner(pub(super) Arc<Shared>);

impl Actor for IncidentRunner {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let shared = Arc::clone(&self.0);
        context.spawn(watch(shared).into_actor(self));
    }
}

async fn watch(shared: Arc<Shared>) {
    let mut changes = shared.ring.changes();
    loop {
        changes.mark_unchanged();
        let is_shut_out = shared.ring.snapshot().standing().bars_node(&shared.settings.node);
        let running: Vec<Arc<IncidentRecord>> =
            shared.ring.snapshot().standing().running().cloned().collect();
        for record in &running {
            if shared.is_new(record) {
                announce(&shared, record);
                actix::spawn(gather(Arc::clone(&shared), Arc::clone(record)));
            }
        }
        // A node that may be in other hands runs nothing.
        for record in running.iter().filter(|_| !is_shut_out) {
            match run::run(&shared, record.id).await {
                Ok(Ran::Over | Ran::Elsewhere | Ran::Waits) => {}
                Err(error) => {
                    tracing::warn!(incident = %record.id, %error, "a step of an incident was not done and will be tried again");
                }
            }
        }
        let pause = if running.is_empty() { Duration::MAX } else { AGAIN };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Shared {
    /// This node has not looked at an incident since it was approved last.
    fn is_new(&self, record: &IncidentRecord) -> bool {
        let known = (record.id, record.approved_at.map_or(0, |at| at.timestamp_millis()));
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.contains(&known) {
            return false;
        }
        if gathered.len() >= GATHERED_MAX {
            gathered.clear();
        }
        gathered.push(known);
        true
    }
}

/// Tells the subscribers of this node: every node does, since none hears the others' announcements.
fn announce(shared: &Shared, record: &IncidentRecord) {
    shared.events.announce(Event::announced(EventName::AlertRaised, None, &notice(record)));
}

pub(super) fn notice(record: &IncidentRecord) -> Notice {
    Notice {
        name: "incident",
        incident: record.id,
        target: record.target.clone(),
        level: record.level,
        state: record.state,
        reason: record.reason.clone(),
        opened_at: record.opened_at,
    }
}

/// Leaves what this node's log says for whoever puts the report together.
async fn gather(shared: Arc<Shared>, record: Arc<IncidentRecord>) {
    let wanted = wanted(&shared, &record);
    let (folder, since) = (shared.settings.audit_dir.clone(), record.since);
    // Nobody waits for this thread but whoever wants the report.
    let read = tokio::task::spawn_blocking(move || uses::read(&folder, &wanted, since)).await;
    let uses = match read {
        Ok(Ok(uses)) => uses,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the audit log can't be read for an incident");
            return;
        }
        Err(_ended) => return,
    };
    let (at, node) = (shared.clock.now(), shared.settings.node.clone());
    let record = UseRecord { incident: record.id, node, uses, at };
    if let Err(error) = leave(&shared, record).await {
        tracing::warn!(%error, "what the audit log says of an incident was not kept");
    }
}

async fn leave(shared: &Shared, record: UseRecord) -> Result<(), StoreError> {
    let keychain = Arc::clone(shared.ring.snapshot().keychain());
    let write = move |database: Database| async move { database.leave_uses(&keychain, &record).await };
    shared.ring.database().at_home(write).await?;
    shared.wake.notify_one();
    Ok(())
}

/// How lines of the log that are about a target look.
fn wanted(shared: &Shared, record: &IncidentRecord) -> Wanted {
    let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
    Wanted(match &record.target {
        Target::Key(name) => vec![format!("\"key\":{}", text(name.as_str()))],
        Target::Principal(principal) => match Principal::of(principal) {
            Principal::ApiKey(id) => vec![format!("\"actor_id\":\"{}\"", id.simple())],
            Principal::Device(id) => vec![format!("\"actor\":\"device:{id}\"")],
            Principal::Subject(subject) => {
                let quoted = text(&subject);
                let mut wanted = vec![format!("\"actor\":{quoted}"), format!("\"sub\":{quoted}")];
                // As a subject of another issuer, and as one that is on record by what stands for it.
                wanted.push(format!("#{}", quoted.trim_start_matches('"')));
                let hash = shared.ring.snapshot().audit_hash(&subject);
                wanted.extend(hash.map(|hash| format!("\"sub_hash\":{}", text(&hash))));
                wanted
            }
        },
        Target::Issuer(issuer) => {
            vec![format!("\"actor\":{}#", text(issuer).trim_end_matches('"'))]
        }
        Target::Node(_) | Target::All(_) => Vec::new(),
    })
}

/// Which start of the node this is, for leases.
pub(super) fn holder(shared: &Shared) -> String {
    format!("{}/{}", shared.settings.node, shared.cluster.boot_id())
}
