//! Who counts, and what counts as word from the database. Pure.

use std::time::Duration;

/// How often a node renews its row although nothing has changed.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// A node as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which start of it.
    pub boot_id: String,
    /// Name.
    pub name: String,
    /// Version of the service.
    pub version: String,
    /// Start, milliseconds.
    pub started_at: i64,
    /// Last sign of life, milliseconds.
    pub seen_at: i64,
    /// Epoch that none of its requests is behind.
    pub applied: u64,
    /// Time without word from the database after which it refuses work, milliseconds.
    pub max_staleness: i64,
    /// It is leaving.
    pub draining: bool,
    /// State of masters and data-encryption keys that it works with; `None` = its release knows of none.
    pub seal_revision: Option<i64>,
    /// Fingerprints of its masters, newest first.
    pub masters: Vec<String>,
}

impl Member {
    /// It may still serve: a node that has not renewed its row for longer has refused all work since. The heartbeat is added because a
    /// node takes word from the database for that long after it renewed its row.
    #[must_use]
    pub fn is_live(&self, now: i64) -> bool {
        let heartbeat = i64::try_from(HEARTBEAT.as_millis()).unwrap_or(0);
        now.saturating_sub(self.seen_at) <= self.max_staleness.saturating_add(heartbeat)
    }
}

/// Who uses a change, and who may not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Nodes of which no request is behind it.
    pub by: Vec<String>,
    /// Nodes that may still work with what was before.
    pub lagging: Vec<String>,
    /// Milliseconds after the change by which the last of those has stopped, whatever befell it.
    pub longest: i64,
}

/// Counts the live nodes; a name that any of its starts lags under lags.
#[must_use]
pub(super) fn acknowledged(members: &[Member], epoch: u64, now: i64) -> Acknowledged {
    let mut counted = Acknowledged::default();
    for member in members.iter().filter(|member| member.is_live(now)) {
        let list = if member.applied >= epoch {
            &mut counted.by
        } else {
            // Its own patience counts: configurations may differ for a while.
            counted.longest = counted.longest.max(member.max_staleness);
            &mut counted.lagging
        };
        if !list.contains(&member.name) {
            list.push(member.name.clone());
        }
    }
    counted.by.retain(|name| !counted.lagging.contains(name));
    counted
}

/// Word from the database that was asked for at `asked` counts only if the node's row had been renewed at most a heartbeat before:
/// otherwise others may have stopped waiting for this node.
#[must_use]
pub(super) fn confirms(asked: Duration, renewed: Option<Duration>) -> bool {
    renewed.is_some_and(|renewed| asked.saturating_sub(renewed) <= HEARTBEAT)
}

/// The times that half, and that ninety-nine in a hundred, do not exceed.
#[must_use]
pub(super) fn quantiles(mut times: Vec<Duration>) -> Option<(Duration, Duration)> {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some((at(50)?, at(99)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, boot: &str, seen_at: i64, applied: u64) -> Member {
        Member {
            boot_id: boot.to_owned(),
            name: name.to_owned(),
            version: String::new(),
            started_at: 0,
            seen_at,
            applied,
            max_staleness: 3_000,
            draining: false,
            seal_revision: None,
            masters: Vec::new(),
        }
    }

    #[test]
    fn nodes_count_until_they_have_fenced_themselves() {
        let node = member("a", "1", 10_000, 5);
        assert!(node.is_live(10_000) && node.is_live(18_000) && !node.is_live(18_001));
        // A clock that went back makes nobody dead.
        assert!(node.is_live(0));
    }

    #[test]
    fn whoever_lags_is_named_and_the_dead_are_not() {
        let members = [
            member("a", "1", 10_000, 5),
            member("b", "2", 10_000, 4),
            member("c", "3", 0, 1),
            // One that took over a name while its predecessor may still serve.
            member("d", "4", 10_000, 6),
            member("d", "5", 10_000, 2),
        ];
        let counted = acknowledged(&members, 5, 12_000);
        assert_eq!((counted.longest, acknowledged(&members[..1], 5, 12_000).longest), (3_000, 0));
        assert_eq!(
            (counted.by, counted.lagging),
            (vec!["a".to_owned()], vec!["b".to_owned(), "d".to_owned()])
        );
    }

    #[test]
    fn quantiles_of_few_and_many() {
        let ms = Duration::from_millis;
        assert_eq!(quantiles(Vec::new()), None);
        assert_eq!(quantiles(vec![ms(7)]), Some((ms(7), ms(7))));
        assert_eq!(quantiles((1..=200).rev().map(ms).collect()), Some((ms(100), ms(198))));
    }

    #[test]
    fn word_counts_only_soon_after_a_renewal() {
        let at = Duration::from_secs;
        assert!(
            confirms(at(10), Some(at(10))) && confirms(at(15), Some(at(10))) && confirms(at(9), Some(at(10)))
        );
        assert!(!confirms(at(16), Some(at(10))) && !confirms(at(10), None));
    }
}
