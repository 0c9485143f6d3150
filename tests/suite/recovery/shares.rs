//! A master key that no single person holds.

use std::{fs, os::unix::fs::PermissionsExt as _};

use claviger_tests::node;

use super::MASTER;
use crate::cli::run;

#[test]
fn any_so_many_shares_give_the_master_and_fewer_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let split = ["seal", "split", "--shares", "5", "--threshold", "3"];
    let made = run(folder.path(), &split, b"", &[MASTER]);
    assert_eq!((made.code, made.error.as_str()), (Some(0), ""));
    let shares: Vec<&str> = made.text().lines().collect();
    assert_eq!(shares.len(), 5);
    assert!(!made.text().contains(node::MASTER));
    let combine = |shares: &[&str], file: &str| {
        run(folder.path(), &["seal", "combine", "--output", file], shares.join("\n").as_bytes(), &[])
    };
    combine(&[shares[4], shares[0], shares[2]], "master").json();
    let path = folder.path().join("master");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", node::MASTER));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    combine(&[shares[4], shares[0], shares[2]], "master").refused("--output: ");
    combine(&shares[..2], "none").refused("3 shares are needed, 2 were given");
    let damaged = shares[0].replace('7', "8");
    let damaged = if damaged == shares[0] { format!("{}00", shares[0]) } else { damaged };
    combine(&[shares[1], &damaged, shares[2]], "none").refused("share 2 of those given is damaged");
    let other = run(folder.path(), &split, b"", &[MASTER]);
    let other = other.text().lines().next().unwrap();
    combine(&[shares[0], shares[1], other], "none").refused("share 3 of those given is of another set");
    combine(&[shares[0], shares[1], shares[0]], "none").refused("share 3 of those given was given before");
    assert!(!folder.path().join("none").exists());
    let files = [&split[..], &["--directory", "out"]].concat();
    run(folder.path(), &files, b"", &[MASTER]).json();
    let file = |number: usize| folder.path().join(format!("out/share-{number}.txt"));
    assert_eq!(fs::metadata(file(5)).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<String> = [2, 3, 5].map(|number| file(number).display().to_string()).into();
    let by_file = [
        "seal",
        "combine",
        "--output",
        "again",
        "--share-file",
        &names[0],
        "--share-file",
        &names[1],
        "--share-file",
        &names[2],
    ];
    run(folder.path(), &by_file, b"", &[]).json();
    assert_eq!(fs::read(folder.path().join("again")).unwrap(), fs::read(path).unwrap());
    run(folder.path(), &["seal", "split", "--shares", "2", "--threshold", "3"], b"", &[MASTER])
        .refused("of 2 to 255 shares");
}
