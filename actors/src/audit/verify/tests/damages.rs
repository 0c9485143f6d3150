//! Each kind of damage, where it is found, and what is said of it.

use std::fs;

use super::{Bench, Files, Trust, verified};
use crate::audit::directory;

/// Damages a log and answers with the file and line where that should be found.
type Damage = fn(&mut Files) -> (String, Option<u64>);

fn current() -> String {
    directory::CURRENT.to_owned()
}

/// The segments in order, of which the last is open.
fn name(files: &Files, at: usize) -> String {
    files.segments()[at].clone()
}

const DAMAGES: &[(&str, Damage)] = &[
    ("has not the form", |files| {
        files.edit(&name(files, 1), |lines| lines[4] = "{}\n".to_owned());
        (name(files, 1), Some(5))
    }),
    ("its number is", |files| {
        files.edit(&name(files, 1), |lines| drop(lines.remove(4)));
        (name(files, 1), Some(5))
    }),
    ("its hash does not follow from it and the line before", |files| {
        files.edit(&name(files, 2), |lines| lines[7] = lines[7].replace("orders", "borders"));
        (name(files, 2), Some(8))
    }),
    ("its signature does not hold", |files| {
        let file = name(files, 1);
        files.edit(&file, |lines| {
            let at = (1..).find(|at| !lines[*at].contains("audit_")).unwrap();
            lines[at] = lines[at].replace("orders", "borders");
        });
        files.rechain(&file);
        let signed =
            files.lines(&file).iter().skip(1).position(|line| line.contains("audit_checkpoint")).unwrap();
        (file, Some(signed as u64 + 2))
    }),
    ("without the checkpoint that closes it", |files| {
        files.edit(&name(files, 1), |lines| drop(lines.pop()));
        (name(files, 1), Some(files.lines(&name(files, 1)).len() as u64))
    }),
    ("segment 4 is missing before this one", |files| {
        files.0.remove(&name(files, 1));
        (name(files, 1), Some(1))
    }),
    ("segments 1 to 3 are missing before this one", |files| {
        files.0.remove(&name(files, 0));
        (name(files, 0), Some(1))
    }),
    ("the file is named otherwise", |files| {
        let lines = files.lines(&name(files, 2));
        files.put(&name(files, 1), &lines);
        (name(files, 1), Some(1))
    }),
    ("does not begin as a segment does", |files| {
        files.edit(&name(files, 1), |lines| drop(lines.remove(0)));
        (name(files, 1), Some(1))
    }),
    ("does not begin as a segment does", |files| {
        files.edit(&current(), |lines| lines[0] = "nothing\n".to_owned());
        (current(), Some(1))
    }),
    ("longer than a line", |files| {
        files.edit(&current(), |lines| lines.insert(1, "x".repeat(20_000) + "\n"));
        (current(), Some(2))
    }),
    ("it is no whole line", |files| {
        let file = files.segments().into_iter().find(|name| !name.ends_with("zst")).unwrap();
        files.0.get_mut(&file).unwrap().pop();
        (file.clone(), Some(files.lines(&file).len() as u64))
    }),
    ("it can't be unpacked", |files| {
        let file = files.segments().into_iter().find(|name| name.ends_with("zst")).unwrap();
        let bytes = files.0.get_mut(&file).unwrap();
        bytes.truncate(bytes.len() / 2);
        (file, None)
    }),
    ("is not in the log, which ends here", |files| {
        files.edit(&current(), |lines| drop(lines.pop()));
        (current(), Some(files.lines(&current()).len() as u64))
    }),
    ("is not in the log, which ends here", |files| {
        files.0.remove(directory::CURRENT);
        let last = files.segments().pop().unwrap();
        (last.clone(), Some(files.lines(&last).len() as u64))
    }),
    ("the last checkpoint, anchor.json, is missing", |files| {
        files.0.remove(directory::ANCHOR);
        (directory::ANCHOR.to_owned(), None)
    }),
    ("this is no checkpoint", |files| {
        files.0.insert(directory::ANCHOR.to_owned(), b"{}\n".to_vec());
        (directory::ANCHOR.to_owned(), None)
    }),
    ("it is not the last checkpoint: 2 came after", |files| {
        let checkpoints = files.checkpoints();
        let line = format!("{}\n", checkpoints[checkpoints.len() - 3].line);
        files.0.insert(directory::ANCHOR.to_owned(), line.into_bytes());
        (directory::ANCHOR.to_owned(), None)
    }),
    ("which is not in the folder", |files| {
        files.segments().iter().for_each(|name| drop(files.0.remove(name)));
        (directory::ANCHOR.to_owned(), None)
    }),
    ("which is not in the folder", |files| {
        let other = Files::of(Bench::filled(300).path());
        files.0.insert(directory::ANCHOR.to_owned(), other.0[directory::ANCHOR].clone());
        (directory::ANCHOR.to_owned(), None)
    }),
    ("no file of the log", |files| {
        files.0.insert("foreign-1".to_owned(), Vec::new());
        ("foreign-1".to_owned(), None)
    }),
    ("no file of the log", |files| {
        // A number that is written otherwise would stand for the same segment twice.
        let file = name(files, 1).replace("-000000", "-");
        files.0.insert(file.clone(), files.0[&name(files, 1)].clone());
        (file, None)
    }),
    ("it is not the same as in", |files| {
        let file = files.segments().into_iter().find(|name| name.ends_with(".log")).unwrap();
        let mut lines = files.lines(&file);
        lines[2] = lines[2].replace("orders", "borders");
        files.put(&format!("{file}.zst"), &lines);
        (format!("{file}.zst"), Some(3))
    }),
];

#[test]
fn the_first_bad_record_is_named() {
    let sound = Files::of(Bench::filled(300).path());
    assert!(sound.verify(&Trust::default()).is_whole());
    for (index, (what, damage)) in DAMAGES.iter().enumerate() {
        let mut files = sound.clone();
        let (file, line) = damage(&mut files);
        let report = files.verify(&Trust::default());
        let bad = report.bad.first().unwrap_or_else(|| panic!("{index}: {what}"));
        assert!(bad.what.contains(what), "{index}: {bad}");
        assert!(bad.file.ends_with(&format!("/{file}")), "{index}: {bad}");
        assert!(line.is_none() || line == bad.line, "{index}: {line:?} {bad}");
    }
}

#[test]
fn what_the_service_has_noticed_itself_is_damage_too() {
    // The file is deleted under it.
    let mut bench = Bench::new(16 << 10);
    bench.append(3);
    fs::remove_file(bench.path().join(directory::CURRENT)).unwrap();
    // Noticed, and nothing is written; then the next segment begins.
    let now = bench.now;
    assert!(bench.log().checkpoint(now).is_err());
    bench.append(3);
    bench.checkpoint();
    let report = bench.verify();
    assert!(report.bad[0].what.contains("segment 1 is missing"), "{report:#?}");
    assert!(report.notes.iter().any(|note| note.what.contains("the log says that the file")), "{report:#?}");
    // The folder is not what it was at the next start.
    let mut bench = Bench::new(16 << 10);
    bench.append(30);
    let file = bench.path().join(directory::CURRENT);
    let edited =
        fs::read_to_string(&file).unwrap().replace("\"n\":3,", "\"n\":4,").replace("\"n\":3}", "\"n\":4}");
    bench.log = None;
    fs::write(&file, edited.replace("orders", "borders")).unwrap();
    bench.restart();
    bench.append(30);
    let report = bench.verify();
    assert_eq!(report.chains.len(), 2);
    assert!(report.bad[0].what.contains("its hash does not follow"), "{report:#?}");
    // It was old enough to be removed, and the one that follows still says what happened.
    let chain = report.chains[0].chain;
    bench.prune_of(chain, 1).into_iter().for_each(|path| fs::remove_file(path).unwrap());
    let report = bench.verify();
    assert_eq!(report.bad.len(), 1, "{report:#?}");
    assert!(report.bad[0].what.contains("the log says that the chain before"), "{report:#?}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_an_empty_one_has_no_chain() {
    let folder = tempfile::tempdir().unwrap();
    let report = verified(folder.path(), &Trust::default());
    assert!(report.chains.is_empty() && report.is_whole());
    let absent = folder.path().join("absent");
    assert!(super::verify(&absent, &Trust::default(), |_, _| {}).is_err());
}
