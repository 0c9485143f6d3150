//! What every handler may reach, put together.

use std::sync::{Arc, Mutex, OnceLock, atomic::AtomicBool};

use claviger_actors::{
    alerts::{AlertSettings, AlertsHandle},
    audit::{AuditHandle, keeper::AuditKeeper},
    clock::Clock,
    incidents::IncidentsHandle,
    keyring::boot::Started,
    quotas::QuotasHandle,
    rotation::RotationHandle,
    stores::StoresHandle,
    uses,
};
use tokio::sync::Semaphore;

use super::given;
use crate::{
    auth::{Addresses, Issuers, Limiter, MeshIdentity, Password, Tailscale},
    backup::Backups,
    config::Settings,
    connections::Connections,
    hardening,
    http::{
        body::Awaited,
        patience::Patience,
        record::Tally,
        state::{AppState, Shared},
        ws,
    },
    metrics::Metrics,
    providers::{Book, ConfiguredProviders},
    telemetry::Spans,
    tls::Clients,
};

/// Starts what works beside the ring, and holds it all together.
pub(super) fn state(
    settings: &Settings,
    Started { ring, tokens, cluster, events, masters, attempts, quotas }: Started,
    (audit, keeper): (AuditHandle, AuditKeeper),
    (clock, issuer, (issuers, providers), spans): (
        Arc<dyn Clock>,
        String,
        (Issuers, ConfiguredProviders),
        Spans,
    ),
    (password, backups, alerts): (Option<Password>, Backups, AlertSettings),
    clients: Option<Arc<Clients>>,
) -> AppState {
    tokens.allow(settings.token_times.max_revocations);
    uses::keep(ring.clone(), Arc::clone(&clock));
    let stores = StoresHandle::start(ring.clone(), Arc::clone(&clock), &settings.node, given::pace(settings));
    let book = Book { audit: audit.clone(), ring: ring.clone(), node: settings.node.clone() };
    let alerts = AlertsHandle::new(
        (ring.clone(), cluster.clone()),
        (events.clone(), audit.clone()),
        Arc::clone(&clock),
        alerts,
    );
    AppState::new(Shared {
        rotation: RotationHandle::start(
            ring.clone(),
            audit.clone(),
            settings.node.clone(),
            Arc::clone(&clock),
            settings.rotation_tick,
        ),
        providers: providers.start(stores.clone(), Arc::clone(&clock), book),
        incidents: IncidentsHandle::start(
            (ring.clone(), tokens.clone(), cluster.clone()),
            (events.clone(), audit.clone()),
            Arc::clone(&clock),
            Arc::new(alerts.clone()),
            given::incident_settings(settings),
        ),
        alerts,
        stores,
        backups: Arc::new(backups),
        issuers,
        spans,
        metrics: Metrics::new(settings.watching.metrics_keys),
        ring,
        masters,
        tokens,
        token_times: settings.token_times,
        cluster,
        events,
        max_staleness: settings.max_staleness,
        audit,
        audit_dir: settings.audit.dir.clone(),
        verifying: Arc::new(Semaphore::new(1)),
        keeper,
        audit_level: settings.audit.level,
        tally: Tally::default(),
        floods: Mutex::default(),
        clock,
        node: settings.node.clone(),
        issuer: OnceLock::from(issuer),
        signing_key: settings.signing_key.clone(),
        encryption_key: settings.encryption_key.clone(),
        deletion_waiting_period: settings.deletion_waiting_period,
        body_limit: settings.body_limit,
        request_timeout: settings.request_timeout,
        draining: AtomicBool::new(false),
        addresses: Addresses::new(settings.doors.trusted_proxies.clone()),
        clients,
        limiter: Limiter::new(settings.doors.failed_attempts, attempts),
        patience: Patience::default(),
        connections: Connections::within(hardening::open_files(), settings.workers),
        awaited: Awaited::of(settings.body_limit),
        quotas: QuotasHandle::start(given::quotas_of(&settings.limits), quotas),
        mesh: settings.doors.mesh.clone().map(|mesh| Box::new(Tailscale::new(mesh)) as Box<dyn MeshIdentity>),
        password,
        sessions: ws::Sessions::default(),
        doors: settings.doors.clone(),
    })
}
