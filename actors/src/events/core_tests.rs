use std::sync::Arc;

use proptest::prelude::*;

use super::{
    core::{BadTopic, Batch, Event, EventName, Topics, batches},
    line::{Line, Mark, Place, Settled, Stretch, Tag},
};
use crate::keyring::Epoch;

fn line(epoch: u64, ordinal: i32, kind: &str, key: &str) -> Line {
    Line {
        place: Place { epoch: Epoch(epoch), ordinal },
        tag: Tag::of(&epoch.to_le_bytes()),
        kind: kind.to_owned(),
        key: Some(key.to_owned()),
        version: Some(3),
        kid: Some("kid-3".to_owned()),
        state: Some("active".to_owned()),
        previous_version: None,
        reason: None,
        settled: None,
        is_sound: true,
    }
}

fn end(epoch: u64) -> Place {
    Place::end_of(Epoch(epoch))
}

fn whole(lines: Vec<Line>) -> Stretch {
    Stretch { lines, next: None }
}

fn places(batches: &[Batch]) -> Vec<(u64, i32)> {
    batches.iter().flat_map(|batch| &batch.events).map(|(at, _)| (at.epoch.0, at.ordinal)).collect()
}

#[test]
fn lines_about_versions_that_clients_must_know_of_are_events() {
    let told =
        |kind: &str, key: &str| Event::of_line(&line(7, 0, kind, key)).map(|event| event.name.as_str());
    for kind in ["created", "rotated", "suspended", "resumed", "compromised", "destroyed"] {
        let kind = format!("key.{kind}");
        assert_eq!(told(&kind, "k"), Some(kind.as_str()));
        // Our own keys are nobody's business.
        assert_eq!(told(&kind, "~audit"), None);
    }
    let silent = [
        "key.updated",
        "key.used",
        "key.retired",
        "key.restored",
        "key.standby_published",
        "key.deletion_scheduled",
        "api_key.created",
        "policy.written",
        "ring.changed",
        "token.revoked",
        "ring.sync",
        "",
    ];
    assert!(silent.iter().all(|kind| told(kind, "k").is_none()));
    assert_eq!(Event::of_line(&Line { kid: None, ..line(7, 0, "key.rotated", "k") }), None);
}

#[test]
fn a_payload_says_what_the_line_says() {
    let event = Event::of_line(&line(7, 0, "key.created", "k")).unwrap();
    assert_eq!(&*event.payload, r#"{"name":"k","version":3,"kid":"kid-3","state":"active"}"#);
    assert_eq!((event.epoch, event.topic.as_deref()), (Some(Epoch(7)), Some("k")));
    let rotated = Line {
        previous_version: Some(2),
        reason: Some("a \"drill\"\n".to_owned()),
        ..line(7, 0, "key.rotated", "k")
    };
    assert_eq!(
        &*Event::of_line(&rotated).unwrap().payload,
        r#"{"name":"k","version":3,"kid":"kid-3","state":"active","previous_version":2,"reason":"a \"drill\"\n"}"#
    );
}

#[test]
fn decided_pairings_are_told_with_their_request() {
    let settled = |role: Option<&str>| Settled {
        request: "r".to_owned(),
        device: "d".to_owned(),
        role: role.map(str::to_owned),
    };
    let line = |kind: &str, settled| Line { key: None, settled, ..line(7, 0, kind, "k") };
    let approved = Event::of_line(&line("device.pair.approved", Some(settled(Some("node"))))).unwrap();
    assert_eq!((approved.name.as_str(), approved.epoch), ("device.pair.resolved", Some(Epoch(7))));
    assert_eq!(&*approved.payload, r#"{"requestId":"r","deviceId":"d","role":"node","decision":"approved"}"#);
    let rejected = Event::of_line(&line("device.pair.rejected", Some(settled(None)))).unwrap();
    assert_eq!(&*rejected.payload, r#"{"requestId":"r","deviceId":"d","decision":"rejected"}"#);
    assert_eq!(Event::of_line(&line("device.pair.removed", Some(settled(None)))), None);
}

#[test]
fn topics_are_keys_events_and_everything() {
    let topics = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Topics::parse(Some(&names))
    };
    assert_eq!(Topics::parse(None), Ok(Topics::all()));
    assert_eq!(topics(&[]), Ok(Topics::all()));
    assert_eq!(topics(&["k", "*"]), Ok(Topics::all()));
    for bad in ["", "a/b", "~audit", "key.*", &"x".repeat(129)] {
        assert_eq!(topics(&["k", bad]), Err(BadTopic::Unknown), "{bad}");
    }
    let many: Vec<String> = (0..101).map(|number| format!("k{number}")).collect();
    assert_eq!(Topics::parse(Some(&many)), Err(BadTopic::TooMany));
    assert!(Topics::parse(Some(&many[..100])).is_ok());

    let rotated = Event::of_line(&line(7, 0, "key.rotated", "k")).unwrap();
    let health = Event::announced(EventName::Health, None, &"well");
    let sync = Event::announced(EventName::RingSync, None, &"all");
    let wanted = |names: &[&str]| {
        let topics = topics(names).unwrap();
        [&rotated, &health, &sync].map(|event| topics.matches(event))
    };
    assert_eq!(wanted(&["*"]), [true, true, true]);
    assert_eq!(wanted(&["k"]), [true, false, true]);
    assert_eq!(wanted(&["other"]), [false, false, true]);
    assert_eq!(wanted(&["key.rotated"]), [true, false, true]);
    assert_eq!(wanted(&["key.created", "health"]), [false, true, true]);
    assert!(topics(&["key.created"]).unwrap().wants_key("whatever"));
    assert!(!topics(&["health", "other"]).unwrap().wants_key("k"));
}

#[test]
fn every_name_is_read_as_it_is_written() {
    for name in EventName::ALL {
        assert_eq!(EventName::parse(name.as_str()), Some(*name));
    }
    assert_eq!(EventName::parse("key"), None);
}

#[test]
fn a_change_of_several_events_is_one_batch() {
    let lines = vec![
        line(5, 0, "key.updated", "k"),
        line(6, 0, "key.compromised", "k"),
        line(6, 1, "key.rotated", "k"),
        line(7, 0, "key.rotated", "k"),
    ];
    let (batches, at) = batches(end(4), Epoch(7), &whole(lines)).unwrap();
    assert_eq!((places(&batches), at), (vec![(6, 0), (6, 1), (7, 0)], end(7)));
    assert_eq!(batches.iter().map(|batch| batch.end).collect::<Vec<_>>(), [end(6), end(7)]);
}

#[test]
fn a_part_of_a_change_is_no_whole_one() {
    let first = Stretch {
        lines: vec![line(6, 0, "key.destroyed", "k"), line(6, 1, "key.destroyed", "k")],
        next: Some(Place { epoch: Epoch(6), ordinal: 2 }),
    };
    let (told, at) = batches(end(5), Epoch(7), &first).unwrap();
    assert_eq!((told[0].end, at), (first.lines[1].place, first.lines[1].place));
    let rest = whole(vec![line(6, 2, "key.destroyed", "k"), line(7, 0, "key.updated", "k")]);
    let (told, at) = batches(at, Epoch(7), &rest).unwrap();
    assert_eq!((places(&told), told[0].end, at), (vec![(6, 2)], end(6), end(7)));
    // A rest that is no event, with more behind it: the change has ended all the same.
    let rest = whole(vec![line(6, 2, "key.updated", "k"), line(7, 0, "key.rotated", "k")]);
    let (told, at) = batches(first.lines[1].place, Epoch(7), &rest).unwrap();
    assert_eq!((told[0].end, told[0].events.len(), told[1].end, at), (end(6), 0, end(7), end(7)));
    // The page ends with the change.
    let next = Some(Place { epoch: Epoch(7), ordinal: 0 });
    let (told, at) = batches(end(5), Epoch(7), &Stretch { next, ..first }).unwrap();
    assert_eq!((told[0].end, at), (end(6), end(6)));
}

#[test]
fn changes_that_are_no_events_lead_on() {
    let silent = |epoch| line(epoch, 0, "key.updated", "k");
    let lines = vec![silent(5), line(6, 0, "key.rotated", "k"), silent(7), silent(8)];
    let (told, at) = batches(end(4), Epoch(8), &whole(lines)).unwrap();
    let ends: Vec<_> = told.iter().map(|batch| (batch.end, batch.events.len())).collect();
    assert_eq!((ends, at), (vec![(end(6), 1), (end(8), 0)], end(8)));
    assert_eq!(told[1].tag, Tag::of(&8_u64.to_le_bytes()));
}

#[test]
fn a_mark_is_read_as_it_is_written_and_nothing_else_is_one() {
    let mark = Mark { epoch: Epoch(4_294_967_313), tag: Tag::of(&[0x0a, 0xb1, 0, 0xff, 7]) };
    assert_eq!(mark.to_string(), "4294967313.0ab100ff");
    for mark in [mark, Epoch(7).into(), Epoch(u64::MAX).into()] {
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
    }
    for wrong in [
        "",
        ".",
        "x",
        "-1",
        "1.",
        "1.5",
        "1.0AB100FF",
        "1.+ab100ff",
        "1.0ab100ff0",
        "1.0ab100ff.",
        "99999999999999999999",
    ] {
        assert_eq!(Mark::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_log_with_a_hole_tells_nothing() {
    let broken = |after: Place, lines: Vec<Line>| batches(after, Epoch(7), &whole(lines)).is_none();
    let change = |epoch| line(epoch, 0, "key.rotated", "k");
    assert!(!broken(end(5), vec![change(6), change(7)]));
    assert!(broken(end(5), vec![change(7)]));
    assert!(broken(end(5), vec![change(6)]));
    assert!(broken(end(5), vec![]));
    assert!(broken(end(5), vec![change(6), change(6), change(7)]));
    assert!(broken(end(5), vec![change(6), line(6, 2, "key.rotated", "k"), change(7)]));
    assert!(broken(end(5), vec![change(6), change(7), change(8)]));
    assert!(broken(end(5), vec![change(6), Line { is_sound: false, ..change(7) }]));
    // Another incarnation.
    assert!(batches(end(5), Epoch::new(2, 1), &whole(vec![])).is_none());
    assert!(!broken(end(7), vec![]));
}

/// Lines a change, and which of them are events.
fn logs() -> impl Strategy<Value = Vec<Vec<bool>>> {
    prop::collection::vec(prop::collection::vec(any::<bool>(), 1..5), 0..40)
}

proptest! {
    /// However the log is cut into pages, and wherever somebody comes in, they get every event behind that place, once and in order.
    #[test]
    fn no_seam_loses_or_repeats(log in logs(), page in 1_usize..7, since in 0_usize..40) {
        let lines: Vec<Line> = (1_u64..).zip(&log).flat_map(|(epoch, events)| {
            (0..).zip(events).map(move |(ordinal, is_event)| {
                line(epoch, ordinal, if *is_event { "key.rotated" } else { "key.updated" }, "k")
            })
        }).collect();
        let until = Epoch(log.len() as u64);
        let since = since.min(log.len()) as u64;
        let wanted: Vec<(u64, i32)> = lines.iter()
            .filter(|line| line.place > end(since) && line.kind == "key.rotated")
            .map(|line| (line.place.epoch.0, line.place.ordinal))
            .collect();
        let (mut at, mut got, mut ends) = (end(since), Vec::new(), Vec::new());
        while at < Place::end_of(until) {
            let mut rest: Vec<Line> = lines.iter().filter(|line| line.place > at).take(page + 1).cloned().collect();
            let next = (rest.len() > page).then(|| rest.pop().unwrap().place);
            let (told, reached) = batches(at, until, &Stretch { lines: rest, next }).unwrap();
            prop_assert!(reached > at);
            got.extend(places(&told));
            ends.extend(told.iter().map(|batch| batch.end));
            at = reached;
        }
        prop_assert_eq!(got, wanted);
        prop_assert!(ends.is_sorted());
    }

    /// Any line that is taken away is noticed.
    #[test]
    fn every_hole_is_noticed(log in logs(), gone in any::<prop::sample::Index>()) {
        let mut lines: Vec<Line> = (1_u64..).zip(&log).flat_map(|(epoch, events)| {
            (0..).zip(events).map(move |(ordinal, _)| line(epoch, ordinal, "key.rotated", "k"))
        }).collect();
        prop_assume!(!lines.is_empty());
        let gone = gone.index(lines.len());
        let last_of_change = lines.get(gone + 1).is_none_or(|next| next.place.ordinal == 0);
        let taken = lines.remove(gone);
        // Nothing tells how many lines a change has.
        prop_assume!(!(last_of_change && taken.place.ordinal > 0));
        let told = batches(end(0), Epoch(log.len() as u64), &whole(lines));
        prop_assert!(told.is_none());
    }
}

#[test]
fn events_are_shared_not_copied() {
    let stretch = whole(vec![line(6, 0, "key.rotated", "k")]);
    let (told, _) = batches(end(5), Epoch(6), &stretch).unwrap();
    let (_, event) = &told[0].events[0];
    assert_eq!(Arc::strong_count(event), 1);
    assert_eq!(Arc::strong_count(&event.payload), 1);
}
