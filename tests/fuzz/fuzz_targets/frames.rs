//! What a stranger sends over a session: the first frame, and the frames after it. Each line is a frame.

#![no_main]

use claviger_fuzz::bounded;
use claviger_protocol::{
    close::{Close, Failure},
    connect::Connect,
    core::{Claim, Conversation, Entrance, IN_FLIGHT_MAX, Reaction},
    device::{self, PayloadForm},
    frame,
    methods::Method,
    scopes::{Role, Scope, Scopes},
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MARK: &str = "hunter2hunter2";
/// Of a connection that was challenged with it.
const NONCE: &str = "6f1d2c3b-0000-4000-8000-000000000001";
const NOW_MS: i64 = 1_700_000_000_000;
/// Calls without a right that are answered before the session ends.
const FORBIDDEN_MAX: usize = 10;
/// Frames of a session: what one costs is bounded, and thousands of them cost thousands of times that.
const FRAMES_MAX: usize = 128;

fuzz_target!(|data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    parse(data);
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    for lenient in [false, true] {
        enter(first, lenient);
    }
    let following: Vec<_> = lines.take(FRAMES_MAX).collect();
    for (role, scopes) in [
        (Role::Operator, Scopes::of_role(Role::Operator)),
        (Role::Operator, Scopes::named(["operator.read"])),
        (Role::Node, Scopes::of_role(Role::Node)),
        (Role::Node, Scopes::NONE),
    ] {
        converse(&following, role, scopes);
    }
}

fn parse(data: &[u8]) {
    match frame::parse(data) {
        Ok(request) => {
            let theirs: Value = serde_json::from_slice(data).expect("what is read is JSON");
            assert_eq!(theirs["type"], "req");
            assert_eq!(theirs["id"], request.id.as_str());
            assert_eq!(theirs["method"], request.method.as_str());
            assert_eq!(theirs.get("params"), request.params.as_ref());
            assert!((1..=256).contains(&request.id.len()));
            answers(&request.id);
        }
        Err(unreadable) => {
            if let Some(id) = unreadable.id {
                assert!((1..=256).contains(&id.len()));
                answers(&id);
            }
        }
    }
}

/// Whatever id a client has chosen, its answer is one frame of the protocol.
fn answers(id: &str) {
    let texts = [
        frame::success(id, None),
        frame::success(id, Some("{\"x\":1}")),
        frame::failure(id, &Failure::invalid(id)),
    ];
    for text in &texts {
        is_response(text, Some(id));
    }
}

fn is_response(text: &str, id: Option<&str>) -> Value {
    let value: Value = serde_json::from_str(text).expect("an answer is JSON");
    assert_eq!(value["type"], "res");
    assert!(id.is_none_or(|id| value["id"] == id), "{text}");
    assert_eq!(value["ok"] == true, value.get("error").is_none(), "{text}");
    value
}

fn enter(first: &[u8], is_lenient: bool) {
    let entrance = Entrance {
        nonce: NONCE.to_owned(),
        origin: None,
        host: Some("kms.example".to_owned()),
        is_lenient,
        needs_device: false,
    };
    match entrance.first(first, &[]) {
        Ok(claim) => {
            assert!((claim.connect.min_protocol..=claim.connect.max_protocol).contains(&1));
            assert!(
                !matches!(claim.connect.client.mode.as_str(), "ui" | "webchat"),
                "a page without an origin"
            );
            prove(&claim, &entrance);
        }
        Err(turned) => {
            is_close(&turned.refusal.close);
            let failure = &turned.refusal.failure;
            assert_eq!(failure.message, turned.refusal.close.whole_reason());
            assert!(matches!(failure.code.as_ref(), "invalid_request" | "forbidden"), "{}", failure.code);
            if let Some(id) = &turned.id {
                is_response(&frame::failure(id, failure), Some(id));
            }
        }
    }
}

/// What is sent is never repeated in how it ends.
fn is_close(close: &Close) {
    assert!(close.reason().len() <= 120 && close.whole_reason().starts_with(close.reason()));
    assert!(!close.whole_reason().contains(MARK), "what was sent is in the reason");
}

fn prove(claim: &Claim, entrance: &Entrance) {
    let believes = |_: &[u8; 32], _: &[u8], _: &[u8]| true;
    let doubts = |_: &[u8; 32], _: &[u8], _: &[u8]| false;
    let proven = claim.prove(entrance, NOW_MS, &believes);
    let doubted = claim.prove(entrance, NOW_MS, &doubts);
    if let Err(refusal) = &proven {
        is_close(&refusal.close);
        assert!(doubted.is_err());
        return;
    }
    let Ok(Some(proven)) = proven else {
        assert!(claim.connect.device.is_none() && claim.role == Role::Operator);
        return;
    };
    assert!(doubted.is_err(), "a device without a signature");
    let claimed = claim.connect.device.as_ref().expect("what was proved was claimed");
    assert_eq!(proven.id, device::device_id(&proven.public_key));
    assert_eq!(proven.id.to_string(), claimed.id);
    assert!(claimed.signed_at.abs_diff(NOW_MS) <= 120_000);
    assert!(entrance.is_lenient || claimed.nonce.as_deref() == Some(NONCE));
    fields(&claim.connect);
}

/// No field of what is signed can be taken for two.
fn fields(connect: &Connect) {
    let Some(claimed) = &connect.device else { return };
    for (form, fields) in [(PayloadForm::V1, 8), (PayloadForm::V2, 9), (PayloadForm::V3, 11)] {
        let text = device::payload(form, connect, claimed);
        let found: Vec<_> = text.split('|').collect();
        assert_eq!(found.len(), fields, "{text}");
        let scopes = found.get(5).map_or(0, |scopes| scopes.split(',').count());
        assert_eq!(scopes, connect.scopes.len().max(1), "{text}");
    }
}

fn converse(frames: &[&[u8]], role: Role, scopes: Scopes) {
    let mut conversation = Conversation::new(role, scopes);
    let (mut in_work, mut forbidden) = (0, 0);
    for text in frames {
        match conversation.frame(text) {
            Reaction::Answer(answer) => {
                let answer = is_response(&answer, None);
                assert_eq!(answer["ok"], false, "nothing is done without a call");
                let code = answer["error"]["code"].as_str().expect("a code");
                assert!(matches!(code, "invalid_request" | "forbidden" | "rate_limited"), "{code}");
                assert!(code != "rate_limited" || in_work == IN_FLIGHT_MAX);
                forbidden += usize::from(code == "forbidden");
            }
            Reaction::AnswerAndClose(answer, close) => {
                is_response(&answer, None);
                is_close(&close);
                assert!(forbidden >= FORBIDDEN_MAX, "closed after {forbidden}");
                return;
            }
            Reaction::Call { id, method, .. } => {
                assert!((1..=256).contains(&id.len()));
                assert!(method.is_open_to(role, scopes), "{}", method.name);
                assert_eq!(Method::find(method.name), Some(method));
                in_work += 1;
                assert!(in_work <= IN_FLIGHT_MAX);
            }
        }
    }
    // Whatever was said, nothing else is held by it.
    for _ in 0..in_work {
        conversation.answered();
    }
    let heartbeat = br#"{"type":"req","id":"1","method":"node.heartbeat"}"#;
    let may = role == Role::Node && scopes.covers(Scope::NodeSync);
    assert_eq!(may, matches!(conversation.frame(heartbeat), Reaction::Call { .. }));
}
