//! The actor that moves rows and keeps the schedule, on a thread of its own.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::prelude::*;
use serde_json::json;
use tokio::time::Instant;

use super::{
    core::{self, Next},
    handle::{MasterFailure, MastersHandle, Shared},
};
use crate::{
    clock::Clock as _,
    keyring::ChangeContext,
    store::{Cursor, Database, Resealed, SealView, SealedTable, StoreError},
};

/// Pause between two steps.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the database is looked at although nothing is known to be left to do.
const LOOK: Duration = Duration::from_mins(1);
/// Looks after which rows are searched for that still are under a key of before.
const SEARCH_LOOKS: u32 = 10;
/// How often it is said that a master is overdue.
const SAY: Duration = Duration::from_hours(1);
/// Rows of one transaction at most: whoever waits for it waits for milliseconds.
const BATCH_MAX: u32 = 200;
/// Transactions of a second, unless rows are large in number.
const BATCHES: u32 = 20;

/// What the keeper remembers from one step to the next.
#[derive(Default)]
struct Memory {
    looked: Option<Instant>,
    looks: u32,
    said: Option<Instant>,
    /// There is something to do that is known of.
    pending: bool,
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    memory: Memory,
}

impl Keeper {
    /// Starts it.
    pub(super) fn keep(shared: Arc<Shared>) {
        Self::start_in_arbiter(&Arbiter::new().handle(), |_| Self { shared, memory: Memory::default() });
    }

    fn again(context: &mut Context<Self>) {
        context.run_later(PAUSE, |keeper, context| {
            let shared = Arc::clone(&keeper.shared);
            let mut memory = std::mem::take(&mut keeper.memory);
            let work = async move {
                if let Err(error) = shared.step(&mut memory).await {
                    // Whatever was under way is found again.
                    memory.pending = true;
                    tracing::warn!(%error, "data-encryption keys could not be looked after; it is tried again");
                }
                memory
            };
            context.spawn(work.into_actor(keeper).map(|memory, keeper, context| {
                keeper.memory = memory;
                Self::again(context);
            }));
        });
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        Self::again(context);
    }
}

/// One look at all rows.
struct Round {
    failed: u64,
    left: u64,
}

impl Shared {
    async fn step(self: &Arc<Self>, memory: &mut Memory) -> Result<(), StoreError> {
        let pause = self.settings.rotate_every.map_or(LOOK, |every| every.min(LOOK));
        let is_due = memory.looked.is_none_or(|looked| looked.elapsed() >= pause);
        let has_changed = self.held.changed.swap(false, Ordering::AcqRel);
        if !is_due && !has_changed && !memory.pending || self.held.keychain.is_locked() {
            return Ok(());
        }
        let view = self.look().await?;
        if self.held.is_behind(view.standing.revision) {
            let shared = Arc::clone(self);
            let adopt = move |database: Database| async move { shared.held.adopt(&database).await };
            self.ring.database().at_home(adopt).await?;
        }
        memory.looked = Some(Instant::now());
        let moving = view.rekey.as_ref().filter(|rekey| rekey.finished_at.is_none());
        memory.pending = view.next.is_some() || moving.is_some();
        if !memory.pending {
            memory.looks = memory.looks.wrapping_add(1);
            self.keep_schedule(&view, memory).await;
            if !memory.looks.is_multiple_of(SEARCH_LOOKS) {
                return Ok(());
            }
        }
        let Some((in_use, _)) = self.in_use().await? else { return Ok(()) };
        let (now, members) = (self.clock.now(), self.members().await?);
        let own = (self.cluster.boot_id(), in_use.fingerprint());
        match core::next(&view, &members, own, now.timestamp_millis()) {
            Next::Wait => Ok(()),
            Next::Use(offered) => self.use_offered(offered).await,
            Next::Move { settles } => {
                let round = self.round().await?;
                if settles && memory.pending && round.left <= round.failed {
                    self.finish(&view, &round).await?;
                }
                Ok(())
            }
        }
    }

    async fn use_offered(self: &Arc<Self>, offered: uuid::Uuid) -> Result<(), StoreError> {
        let shared = Arc::clone(self);
        let work = move |database: Database| async move {
            let total = database.sealed_elsewhere(offered).await?;
            let turn = database.take_turn(&shared.held.keychain).await?;
            let now = shared.clock.now();
            if turn.use_offered(&shared.held.keychain, offered, (now, total)).await? {
                tracing::info!(rows = total, "a new data-encryption key seals; rows are moved to it");
            }
            shared.held.adopt(&database).await
        };
        self.ring.database().at_home(work).await
    }

    /// Looks at every row once and moves what can be moved, no faster than it may.
    async fn round(self: &Arc<Self>) -> Result<Round, StoreError> {
        let target = self.held.keychain.current();
        let rate = self.settings.rekey_rate.max(1);
        let limit = (rate / BATCHES).clamp(1, BATCH_MAX);
        let (mut failed, mut looked_at, began) = (0, 0_u64, Instant::now());
        for table in SealedTable::ALL {
            let mut from = Some(Cursor::default());
            while let Some(cursor) = from {
                let batch = self.batch((table, cursor), limit.into()).await?;
                failed += batch.failed;
                looked_at += batch.moved + batch.failed;
                from = batch.next;
                let earliest = Duration::from_secs_f64(looked_at as f64 / f64::from(rate));
                tokio::time::sleep_until(began + earliest).await;
            }
        }
        let keychain = Arc::clone(&self.held.keychain);
        let search = move |database: Database| async move {
            let left = database.sealed_elsewhere(target).await?;
            database.rekey_failed(&keychain, target, failed).await?;
            Ok(left)
        };
        Ok(Round { failed, left: self.ring.database().at_home(search).await? })
    }

    async fn batch(&self, from: (SealedTable, Cursor), limit: u64) -> Result<Resealed, StoreError> {
        let (keychain, now) = (Arc::clone(&self.held.keychain), self.clock.now());
        let work = move |database: Database| async move {
            let (table, cursor) = from;
            database.reseal(&keychain, (table, &cursor), (now, limit)).await
        };
        self.ring.database().at_home(work).await
    }

    async fn finish(&self, view: &SealView, round: &Round) -> Result<(), StoreError> {
        let (target, now) = (self.held.keychain.current(), self.clock.now());
        let more = json!({
            "master_version": view.master_version,
            "data_key": target,
            "rows": view.rekey.as_ref().map(|rekey| rekey.total),
            "failed": round.failed,
        });
        let record = self.record("seal.rekeyed", &ChangeContext::system("rekey"), now, more);
        let text = record.to_string();
        let keychain = Arc::clone(&self.held.keychain);
        let work = move |database: Database| async move {
            database.finish_rekey(&keychain, target, (now, &text)).await
        };
        if self.ring.database().at_home(work).await? {
            tracing::info!(failed = round.failed, "all rows are sealed under the new data-encryption key");
            self.tell(&record).await;
        }
        self.look().await?;
        Ok(())
    }

    /// A master that the service has made is replaced by itself; of one that was given it is said that it should be.
    async fn keep_schedule(self: &Arc<Self>, view: &SealView, memory: &mut Memory) {
        if self.rotate_at(view).is_none_or(|at| at > self.clock.now()) {
            return;
        }
        if self.held.renew.is_some() {
            let rotated = MastersHandle(Arc::clone(self)).rotate(&ChangeContext::system("schedule")).await;
            match rotated {
                Ok(()) | Err(MasterFailure::UnderWay) => {}
                Err(error) => tracing::error!(%error, "the master is overdue and could not be rotated"),
            }
        } else if memory.said.is_none_or(|said| said.elapsed() >= SAY) {
            memory.said = Some(Instant::now());
            tracing::warn!(
                "the master is overdue: put a new one on the first line of seal.master_key on every node, then `claviger seal rotate`"
            );
        }
    }
}
