//! A backup that was damaged, cut off or made up is refused before anything is written.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use claviger_tests::Node;

use super::{MASTER, Safe, populate};
use crate::cli::run;

/// Tries to restore from these bytes into an empty folder, which must stay empty.
fn refused(safe: &Safe, bytes: &[u8], name: &str) {
    let (file, identity, folder) = (safe.file(name), safe.file("identity"), tempfile::tempdir().unwrap());
    fs::write(&file, bytes).unwrap();
    let ran = run(folder.path(), &["restore", "--input", &file, "--identity", &identity], b"", &[MASTER]);
    fs::remove_file(&file).unwrap();
    assert_eq!((ran.code, ran.output.len()), (Some(1), 0), "{name}: {}", ran.error);
    assert!(ran.error.contains("damaged"), "{name}: {}", ran.error);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
}

fn backup(safe: &Safe) -> Vec<u8> {
    let node = Node::start();
    populate(&node.client());
    let file = safe.file("whole");
    run(node.folder(), &["backup", "--output", &file, "--recipient", &safe.recipient], b"", &[MASTER]).json();
    fs::read(file).unwrap()
}

#[test]
fn a_flipped_bit_or_a_cut_is_refused_before_anything_is_written() {
    let safe = Safe::new();
    let whole = backup(&safe);
    let mut places = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        places.push((usize::try_from(state >> 33).unwrap() % whole.len(), 1_u8 << (state >> 29 & 7)));
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((place, bit)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut damaged = whole.clone();
                    damaged[*place] ^= bit;
                    refused(&safe, &damaged, &format!("flipped-{place}-{bit}"));
                }
            });
        }
    });
    let chunk = 64 << 10;
    let cuts = [0, 1, 21, 100, 200, whole.len() / 2, whole.len() - 1, whole.len() - 16, whole.len() - 17];
    for cut in cuts.into_iter().chain((1..4).map(|chunks| chunks * chunk)).filter(|cut| *cut < whole.len()) {
        refused(&safe, &whole[..cut], &format!("cut-{cut}"));
    }
    refused(&safe, &[whole.as_slice(), b"more"].concat(), "longer");
    refused(&safe, &[whole.as_slice(), whole.as_slice()].concat(), "twice");
}

/// Whoever has the public key can encrypt to it, and yet make no backup.
#[test]
fn a_file_of_somebody_elses_making_is_refused() {
    use std::io::{Read as _, Write as _};
    let safe = Safe::new();
    let whole = backup(&safe);
    let identity: age::x25519::Identity = fs::read_to_string(safe.file("identity")).unwrap().parse().unwrap();
    let plain = age::decrypt(&identity, &whole).unwrap();
    let mut text = String::new();
    zstd::Decoder::new(plain.as_slice()).unwrap().read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(r#"{"backup":"#) && lines.last().unwrap().starts_with(r#"{"trailer":"#));
    let sealed = |lines: &[String]| {
        let mut body = Vec::new();
        for line in lines {
            body.extend_from_slice(line.as_bytes());
            body.push(b'\n');
        }
        let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packed.write_all(&body).unwrap();
        age::encrypt(&identity.to_public(), &packed.finish().unwrap()).unwrap()
    };
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    // As it was, it is whole: what follows is refused for what was changed.
    let file = safe.file("same");
    fs::write(&file, sealed(&owned(&lines))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let check = ["restore", "--check", "--input", &file, "--identity", &safe.file("identity")];
    run(folder.path(), &check, b"", &[MASTER]).json();
    // A row left out, with all numbers put right but the code over them.
    let revocations = lines.iter().position(|line| line.contains(r#""name":"revocations""#)).unwrap();
    let mut fewer = owned(&lines);
    fewer.remove(revocations + 1);
    let count = |line: &str, change: i64| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        let kind = if value.get("backup").is_some() { "backup" } else { "trailer" };
        let rows = value[kind]["tables"]["revocations"].as_i64().unwrap();
        value[kind]["tables"]["revocations"] = (rows + change).into();
        value
    };
    fewer[0] = count(&fewer[0], -1).to_string();
    let last = fewer.len() - 1;
    let mut hash = claviger_crypto::digest::Sha256::default();
    for line in &fewer[..last] {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    let mut trailer = count(&fewer[last], -1);
    trailer["trailer"]["sha256"] = hex::encode(hash.finish()).into();
    fewer[last] = trailer.to_string();
    refused(&safe, &sealed(&fewer), "fewer");
    // Without its end, or with lines out of order.
    refused(&safe, &sealed(&owned(&lines[..lines.len() - 1])), "endless");
    let mut swapped = owned(&lines);
    swapped.swap(2, 3);
    refused(&safe, &sealed(&swapped), "swapped");
    refused(&safe, &sealed(&owned(&["{\"row\":[]}"])), "headless");
    refused(&safe, &sealed(&["[".repeat(1 << 20)]), "brackets");
}
