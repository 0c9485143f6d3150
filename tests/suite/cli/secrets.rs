//! `claviger secrets`.

use claviger_tests::Node;

use super::on;

#[test]
fn secrets_are_kept_from_the_command_line() {
    let node = Node::start();
    let put = on(&node, "secrets put a/b.c@example.com token --description for-ci", b"s3cret\n").json();
    assert_eq!((put["version"].as_u64(), put.get("value")), (Some(1), None));
    let got = on(&node, "secrets get a/b.c@example.com token", b"");
    assert_eq!((got.code, got.text()), (Some(0), "s3cret\n"));
    let shown = on(&node, "secrets get a/b.c@example.com token --json", b"").json();
    assert_eq!((&shown["etag"], &shown["description"]), (&put["etag"], &"for-ci".into()));
    let tag = put["etag"].as_str().unwrap();
    on(&node, &format!("secrets put a/b.c@example.com token --if-match {tag}"), b"new").json();
    on(&node, &format!("secrets put a/b.c@example.com token --if-match {tag}"), b"x")
        .refused("precondition_failed: ");
    on(&node, "secrets put a/b.c@example.com token --new", b"x").refused("precondition_failed: ");
    assert_eq!(on(&node, "secrets get a/b.c@example.com token --version 1", b"").text(), "s3cret\n");
    let list = on(&node, "secrets list a/b.c@example.com", b"").json();
    assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]["name"]), (1, &"token".into()));
    let versions = on(&node, "secrets versions a/b.c@example.com token", b"").json();
    assert_eq!(versions["items"][1]["version"], 1);
    let deleted = on(&node, "secrets delete a/b.c@example.com token", b"");
    assert_eq!((deleted.code, deleted.text()), (Some(0), ""));
    on(&node, "secrets get a/b.c@example.com token", b"").refused("not_found: ");
}
