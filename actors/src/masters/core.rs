//! What is to be done next, and by whom. Pure.

use uuid::Uuid;

use crate::{cluster::Member, store::SealView};

/// What a node is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another node does it, or must learn of something first.
    Wait,
    /// Seal with the key that was offered.
    Use(Uuid),
    /// Move rows. If `settles`, nobody seals with a key of before any more: what a whole round leaves over is all there is.
    Move {
        /// See above.
        settles: bool,
    },
}

/// What the node of this start is to do, while a master of this fingerprint is in use.
pub(super) fn next(view: &SealView, members: &[Member], (own, fingerprint): (&str, &str), now: i64) -> Next {
    // Whoever lacks the master was away when it was put in use, and is locked out before it has word from the database again.
    let live = || members.iter().filter(|member| member.is_live(now) && holds(member, fingerprint));
    // One does it; should two think that they are the one, each finds what the other has left.
    let leader = live()
        .filter(|member| member.seal_revision.is_some() && !member.draining)
        .map(|member| member.boot_id.as_str())
        .min();
    if leader != Some(own) {
        return Next::Wait;
    }
    let all_know = live().all(|member| member.seal_revision >= Some(view.standing.revision));
    match view.next {
        Some(offered) if all_know => Next::Use(offered),
        Some(_) => Next::Wait,
        None => Next::Move { settles: all_know },
    }
}

/// Names of live nodes that were not given a master.
pub(super) fn lacking(members: &[Member], fingerprint: &str, now: i64) -> Vec<String> {
    let lacks = |member: &&Member| !holds(member, fingerprint);
    let mut names: Vec<String> = members
        .iter()
        .filter(|member| member.is_live(now))
        .filter(lacks)
        .map(|member| member.name.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn holds(member: &Member, fingerprint: &str) -> bool {
    member.masters.iter().any(|held| held == fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Standing;

    fn member(boot: &str, revision: Option<i64>, masters: &[&str], seen_at: i64) -> Member {
        Member {
            boot_id: boot.to_owned(),
            name: format!("node-{boot}"),
            version: String::new(),
            started_at: 0,
            seen_at,
            applied: 0,
            max_staleness: 3_000,
            draining: false,
            seal_revision: revision,
            masters: masters.iter().map(|&held| held.to_owned()).collect(),
        }
    }

    fn view(next: Option<Uuid>) -> SealView {
        SealView {
            standing: Standing { revision: 5, current: None },
            next,
            master_version: 2,
            master_since: 0,
            data_keys: 2,
            rekey: None,
        }
    }

    #[test]
    fn one_acts_and_only_once_all_know() {
        let id = Uuid::max();
        let at = |revisions: &[Option<i64>]| -> Vec<Member> {
            (0..)
                .zip(revisions)
                .map(|(boot, &one)| member(&format!("{boot}"), one, &["new"], 100_000))
                .collect()
        };
        let table: [(&[Option<i64>], &str, Next, Next); 7] = [
            (&[Some(5), Some(5)], "0", Next::Use(id), Next::Move { settles: true }),
            (&[Some(5), Some(5)], "1", Next::Wait, Next::Wait),
            (&[Some(5), Some(6)], "0", Next::Use(id), Next::Move { settles: true }),
            (&[Some(5), Some(4)], "0", Next::Wait, Next::Move { settles: false }),
            // A node of the release before neither acts nor lets others.
            (&[None, Some(5)], "1", Next::Wait, Next::Move { settles: false }),
            (&[None, Some(5)], "0", Next::Wait, Next::Wait),
            (&[], "0", Next::Wait, Next::Wait),
        ];
        for (revisions, own, offered, none) in table {
            let members = at(revisions);
            assert_eq!(
                next(&view(Some(id)), &members, (own, "new"), 100_000),
                offered,
                "{revisions:?} {own}"
            );
            assert_eq!(next(&view(None), &members, (own, "new"), 100_000), none, "{revisions:?} {own}");
        }
        // The dead hold nobody up, and whoever is leaving does not begin.
        let mut members = at(&[Some(4), Some(5), Some(5)]);
        members[0].seen_at = 0;
        members[1].draining = true;
        assert_eq!(next(&view(Some(id)), &members, ("2", "new"), 100_000), Next::Use(id));
        // Nor does one that is locked out, which does not begin either.
        let mut members = at(&[Some(4), Some(5)]);
        members[0].masters = vec!["old".to_owned()];
        assert_eq!(next(&view(Some(id)), &members, ("1", "new"), 100_000), Next::Use(id));
        assert_eq!(next(&view(Some(id)), &members, ("0", "new"), 100_000), Next::Wait);
    }

    #[test]
    fn live_nodes_without_a_master_are_named_once() {
        let mut members = vec![
            member("a", Some(1), &["new", "old"], 100_000),
            member("b", Some(1), &["old"], 100_000),
            member("c", None, &[], 100_000),
            member("d", Some(1), &["old"], 0),
            member("e", Some(1), &["old"], 100_000),
        ];
        members[4].name = "node-b".to_owned();
        assert_eq!(lacking(&members, "new", 100_000), ["node-b", "node-c"]);
        assert_eq!(lacking(&members[..1], "new", 100_000), Vec::<String>::new());
    }
}
