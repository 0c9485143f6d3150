//! A thousand random damages, each of which must be found.

use serde_json::Value;

use super::{Bench, Files, Trust};
use crate::audit::{about, directory, signed::tests::OwnKey};

/// Numbers that a seed decides (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).unwrap()
    }

    fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }

    /// Two different ones.
    fn two(&mut self, below: usize) -> (usize, usize) {
        let first = self.roll(below);
        (first, (first + 1 + self.roll(below - 1)) % below)
    }
}

type Damage = fn(&mut Files, &mut Dice);

fn segment(files: &Files, dice: &mut Dice) -> String {
    dice.of(&files.segments()).clone()
}

fn edit(files: &mut Files, dice: &mut Dice, damage: impl FnOnce(&mut Vec<String>, &mut Dice)) {
    let name = segment(files, dice);
    files.edit(&name, |lines| damage(lines, dice));
}

/// Puts another letter or digit in place of one.
fn change(line: &mut String, dice: &mut Dice, is_one: fn(u8) -> bool) {
    let mut bytes = std::mem::take(line).into_bytes();
    let places: Vec<_> = (0..bytes.len()).filter(|at| is_one(bytes[*at])).collect();
    let at = *dice.of(&places);
    let others: Vec<u8> = (b'0'..=b'z').filter(|byte| is_one(*byte) && *byte != bytes[at]).collect();
    bytes[at] = *dice.of(&others);
    *line = String::from_utf8(bytes).unwrap();
}

/// An edit that leaves JSON and number as they are, in a segment and line of one's choice.
fn change_record(files: &mut Files, dice: &mut Dice) -> String {
    let name = segment(files, dice);
    files.edit(&name, |lines| {
        let records: Vec<_> = (0..lines.len()).filter(|at| lines[*at].contains("\"orders\"")).collect();
        let at = *dice.of(&records);
        lines[at] = lines[at].replace("\"orders\"", "\"0rders\"");
    });
    name
}

const DAMAGES: &[(&str, Damage)] = &[
    ("edit a byte anywhere", |files, dice| {
        let names: Vec<_> = files.0.keys().cloned().collect();
        let bytes = files.0.get_mut(dice.of(&names)).unwrap();
        let at = dice.roll(bytes.len());
        bytes[at] ^= u8::try_from(1 + dice.roll(255)).unwrap();
    }),
    ("edit a digit", |files, dice| {
        edit(files, dice, |lines, dice| {
            let at = dice.roll(lines.len());
            change(&mut lines[at], dice, |byte| byte.is_ascii_digit());
        });
    }),
    ("edit a letter", |files, dice| {
        edit(files, dice, |lines, dice| {
            let at = dice.roll(lines.len());
            change(&mut lines[at], dice, |byte| byte.is_ascii_alphabetic());
        });
    }),
    ("edit a value", |files, dice| {
        change_record(files, dice);
    }),
    ("delete a line", |files, dice| {
        edit(files, dice, |lines, dice| {
            lines.remove(dice.roll(lines.len()));
        });
    }),
    ("duplicate a line", |files, dice| {
        edit(files, dice, |lines, dice| {
            let line = dice.of(lines).clone();
            lines.insert(dice.roll(lines.len() + 1), line);
        });
    }),
    ("swap lines", |files, dice| {
        edit(files, dice, |lines, dice| {
            let (one, other) = dice.two(lines.len());
            lines.swap(one, other);
        });
    }),
    ("move a line", |files, dice| {
        edit(files, dice, |lines, dice| {
            let (from, to) = dice.two(lines.len());
            let line = lines.remove(from);
            lines.insert(to, line);
        });
    }),
    ("cut lines off", |files, dice| {
        edit(files, dice, |lines, dice| lines.truncate(dice.roll(lines.len())));
    }),
    ("cut bytes off", |files, dice| {
        let names: Vec<_> = files.0.keys().cloned().collect();
        let bytes = files.0.get_mut(dice.of(&names)).unwrap();
        bytes.truncate(dice.roll(bytes.len()));
    }),
    ("append a line", |files, dice| {
        edit(files, dice, |lines, _| lines.push(Files::following(lines.last().unwrap())));
    }),
    ("insert a line and make every hash fit", |files, dice| {
        let name = segment(files, dice);
        files.edit(&name, |lines| {
            let at = 1 + dice.roll(lines.len() - 1);
            lines.insert(at, Files::following(&lines[at - 1]));
        });
        files.rechain(&name);
    }),
    ("edit a value and make every hash fit", |files, dice| {
        let name = change_record(files, dice);
        files.rechain(&name);
    }),
    ("swap what is in segments", |files, dice| {
        let names = files.segments();
        let (one, other) = dice.two(names.len());
        let lines = files.lines(&names[one]);
        files.put(&names[one], &files.lines(&names[other]));
        files.put(&names[other], &lines);
    }),
    ("swap names of segments", |files, dice| {
        let names = files.segments();
        let (one, other) = dice.two(names.len());
        let (first, second) = (files.0[&names[one]].clone(), files.0[&names[other]].clone());
        files.0.insert(names[one].clone(), second);
        files.0.insert(names[other].clone(), first);
    }),
    ("delete a segment", |files, dice| {
        let name = segment(files, dice);
        files.0.remove(&name);
    }),
    ("delete the oldest segments", |files, dice| {
        let names = files.segments();
        names.iter().take(1 + dice.roll(names.len() - 1)).for_each(|name| drop(files.0.remove(name)));
    }),
    ("put an older copy of a segment back", |files, dice| {
        edit(files, dice, |lines, dice| {
            // As it was at one of its checkpoints, except the last.
            let ends: Vec<_> =
                (0..lines.len() - 1).filter(|at| lines[*at].contains("audit_checkpoint")).collect();
            lines.truncate(ends.get(dice.roll(ends.len().max(1))).map_or(1, |at| at + 1));
        });
    }),
    ("put a segment into the place of another, too", |files, dice| {
        let names = files.segments();
        let (one, other) = dice.two(names.len());
        files.put(&names[one], &files.lines(&names[other]));
    }),
    ("delete the last checkpoint", |files, _| drop(files.0.remove(directory::ANCHOR))),
    ("put an older checkpoint back", |files, dice| {
        let checkpoints = files.checkpoints();
        let older = dice.of(&checkpoints[..checkpoints.len() - 2]);
        files.0.insert(directory::ANCHOR.to_owned(), format!("{}\n", older.line).into_bytes());
    }),
    ("sign the last checkpoint with another key", |files, _| {
        let last = files.checkpoints().pop().unwrap();
        let value: Value = serde_json::from_str(&last.line).unwrap();
        let OwnKey(key) = OwnKey::default();
        let said = about::Checkpoint {
            chain: last.chain,
            segment: last.segment,
            head: value["head"].as_str().unwrap().to_owned(),
            epoch: 1,
            closing: false,
            kid: key.kid.to_string(),
        };
        let head = crate::audit::line::head(said.head.as_bytes()).unwrap();
        let mut line = Vec::new();
        about::write((last.seq, &head), (last.at, about::CHECKPOINT, said), Some(&key), &mut line).unwrap();
        files.0.insert(directory::ANCHOR.to_owned(), line);
    }),
    ("say that more was removed", |files, dice| {
        let names = files.segments();
        let gone = 1 + dice.roll(names.len() - 2);
        let last = files.lines(&names[gone - 1]).pop().unwrap();
        let end: Value = serde_json::from_str(&last).unwrap();
        let number: u64 =
            names[gone - 1].rsplit_once('-').unwrap().1.split('.').next().unwrap().parse().unwrap();
        let current = names.last().unwrap().clone();
        names.iter().take(gone).for_each(|name| drop(files.0.remove(name)));
        for name in &names[gone..] {
            files.edit(name, |lines| {
                for line in lines.iter_mut().filter(|line| line.contains("audit_pruned")) {
                    let said: Value = serde_json::from_str(line).unwrap();
                    let with = |member: &str, to: &Value| {
                        (format!("\"{member}\":{}", said[member]), format!("\"{member}\":{to}"))
                    };
                    for (from, to) in [
                        with("segment", &number.into()),
                        with("last_seq", &end["seq"]),
                        with("head", &end["hash"]),
                    ] {
                        *line = line.replace(&from, &to);
                    }
                }
            });
        }
        let first = names[gone..].first().unwrap_or(&current).clone();
        files.rechain(&first);
    }),
];

#[test]
fn every_damage_is_found() {
    let rounds = if std::env::var_os("TEST_FULL").is_some() { 1_000 } else { 100 };
    let bench = Bench::filled(700);
    let sound = Files::of(bench.path());
    let report = sound.verify(&Trust::default());
    assert!(report.is_whole(), "{report:#?}");
    let chain = &report.chains[0];
    assert!(chain.records > 2_000 && chain.segments > 8 && !chain.from_start, "{chain:?}");
    let mut found = std::collections::BTreeMap::new();
    let mut tried = 0;
    for seed in 0_u64.. {
        let mut dice = Dice(seed);
        let (name, damage) = DAMAGES[usize::try_from(seed).unwrap() % DAMAGES.len()];
        let mut files = sound.clone();
        damage(&mut files, &mut dice);
        if files.is_same(&sound) {
            // A byte of the packing that says nothing, or a line that was put where it was.
            continue;
        }
        let report = files.verify(&Trust::default());
        // A line with the right hash after the last checkpoint is one that nobody vouches for.
        let is_tail = name == "append a line" && report.chains.iter().any(|chain| chain.unvouched > 0);
        assert!(!report.is_whole() || is_tail, "seed {seed}, {name}: {report:#?}");
        *found.entry(name).or_insert(0) += 1;
        tried += 1;
        if tried == rounds {
            break;
        }
    }
    println!("{tried} damages found: {found:#?}");
    assert_eq!(found.len(), DAMAGES.len());
}
