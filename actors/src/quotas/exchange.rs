//! Nodes tell each other what is asked for often, once a second, and each takes its part.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use deadpool_redis::redis::{cmd, pipe};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    bucket::Bucket,
    core::{Name, Quota, WHOLE, hear, told},
    handle::Inner,
};
use crate::cluster::{ClusterHandle, HintError, RedisLink};

/// How often nodes tell each other.
const EVERY: Duration = Duration::from_secs(1);
/// Rounds after which it is asked who the others are.
const LOOK: u32 = 5;
/// Longest wait for Redis.
const PATIENCE: Duration = Duration::from_millis(500);
/// What a node has told is forgotten after so long, in milliseconds.
const FORGOTTEN_MS: u64 = 3_500;

/// The other nodes, and the way to them.
pub struct QuotaSource {
    cluster: Option<ClusterHandle>,
    link: Option<RedisLink>,
    prefix: String,
    secret: [u8; 32],
}

/// Nodes that serve, as far as it is known.
#[derive(Default)]
struct Others {
    /// Their starts.
    boots: Vec<String>,
}

impl Others {
    /// With this one.
    fn nodes(&self) -> u32 {
        u32::try_from(self.boots.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

impl QuotaSource {
    pub(crate) fn new(
        cluster: ClusterHandle,
        link: Option<RedisLink>,
        (deployment, secret): (Uuid, Option<[u8; 32]>),
    ) -> Self {
        let prefix = format!("claviger:{deployment}:quotas");
        // Names that need no hiding never leave this node.
        let link = link.filter(|_| secret.is_some());
        Self { cluster: Some(cluster), link, prefix, secret: secret.unwrap_or_default() }
    }

    /// A node that is the only one.
    #[must_use]
    pub fn alone() -> Self {
        Self { cluster: None, link: None, prefix: String::new(), secret: [0; 32] }
    }

    pub(super) const fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    async fn look(&self, others: &mut Others) {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.is_shared()) else { return };
        // Without an answer those are taken that were there last.
        let Ok(view) = cluster.view().await else { return };
        let own = cluster.boot_id();
        let live =
            view.members.into_iter().filter(|member| member.is_live(view.now) && member.boot_id != own);
        others.boots = live.map(|member| member.boot_id).collect();
    }

    /// Tells the others, and hears what they ask for.
    async fn exchange(
        &self,
        inner: &Inner,
        others: &Others,
        asked: Vec<(Name, u32)>,
    ) -> Result<HashMap<Name, u64>, HintError> {
        let (Some(link), Some(cluster)) = (&self.link, &self.cluster) else {
            return Err(HintError::Unreachable("there is none".to_owned()));
        };
        let key = |boot: &str| format!("{}:{boot}", self.prefix);
        let own = cluster.boot_id();
        let told = told(&inner.secret, own, asked);
        let ask = async {
            let mut connection = link.connection().await?;
            let mut both = pipe();
            both.cmd("SET").arg(key(own)).arg(told).arg("PX").arg(FORGOTTEN_MS).ignore();
            let mut read = cmd("MGET");
            others.boots.iter().for_each(|boot| _ = read.arg(key(boot)));
            both.add_command(read);
            Ok::<(Vec<Option<Vec<u8>>>,), HintError>(both.query_async(&mut *connection).await?)
        };
        let late = |_| HintError::Unreachable("it does not answer in time".to_owned());
        let (heard,) = timeout(PATIENCE, ask).await.map_err(late)??;
        let mut sums = HashMap::new();
        for (boot, told) in others.boots.iter().zip(heard) {
            if let Some(told) = told
                && !hear(&inner.secret, boot, &told, &mut sums)
            {
                tracing::debug!(%boot, "what Redis has of a node's quotas is not the node's");
            }
        }
        Ok(sums)
    }
}

/// Exchanges for as long as the process lives.
pub(super) async fn keep(inner: Arc<Inner>, source: QuotaSource) {
    let mut others = Others::default();
    let mut was_together = true;
    for round in 0_u32.. {
        if round % LOOK == 0 {
            source.look(&mut others).await;
        }
        sleep(EVERY).await;
        let is_together = step(&inner, &source, &others).await;
        if was_together && !is_together {
            tracing::warn!(
                "quotas are divided evenly among the nodes: they can't tell each other what is asked for"
            );
        } else if is_together && !was_together {
            tracing::info!("quotas are divided by what is asked for at each node");
        }
        was_together = is_together;
    }
}

/// One round; `false` when nothing can be known of the others.
async fn step(inner: &Inner, source: &QuotaSource, others: &Others) -> bool {
    let nodes = others.nodes();
    let asked = asked(inner);
    if nodes == 1 {
        divide(inner, &asked, |_, _, _| WHOLE, 1);
        return true;
    }
    let notable = asked.iter().filter(|(quota, _, frequency)| quota.is_notable(*frequency, nodes));
    let notable: Vec<(Name, u32)> = notable.map(|(_, bucket, frequency)| (bucket.name, *frequency)).collect();
    if notable.is_empty() {
        // Whoever asks for little needs no word from others, nor do they.
        return inner.parts.load(Ordering::Relaxed) <= 1;
    }
    match source.exchange(inner, others, notable).await {
        Ok(sums) => {
            let of = |bucket: &Bucket| sums.get(&bucket.name).copied().unwrap_or(0);
            divide(inner, &asked, |quota, bucket, own| quota.cost(own, of(bucket), nodes), 1);
            true
        }
        Err(error) => {
            tracing::debug!(%error, "quotas are divided evenly");
            divide(inner, &asked, |quota, _, _| quota.even_cost(nodes), nodes);
            false
        }
    }
}

/// Everything that is remembered, with how often it was asked for.
fn asked(inner: &Inner) -> Vec<(Quota, Arc<Bucket>, u32)> {
    let tracked = inner.classes.iter().flatten();
    let each = tracked.flat_map(|tracked| tracked.buckets.iter().map(|(_, bucket)| (tracked.quota, bucket)));
    each.map(|(quota, bucket)| {
        let frequency = bucket.fade(quota);
        (quota, bucket, frequency)
    })
    .collect()
}

fn divide(
    inner: &Inner,
    asked: &[(Quota, Arc<Bucket>, u32)],
    cost: impl Fn(Quota, &Bucket, u32) -> u32,
    parts: u32,
) {
    inner.parts.store(parts, Ordering::Relaxed);
    for (quota, bucket, frequency) in asked {
        bucket.set_cost(cost(*quota, bucket, *frequency));
    }
}
