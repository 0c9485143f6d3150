use proptest::prelude::*;
use serde_json::json;

use super::*;

const NONCE: &str = "n-1";

fn entrance() -> Entrance {
    Entrance {
        nonce: NONCE.to_owned(),
        origin: None,
        host: Some("kms.example".to_owned()),
        is_lenient: false,
        needs_device: false,
    }
}

fn connect() -> Value {
    json!({"type": "req", "id": "c", "method": "connect", "params": {
        "minProtocol": 1, "maxProtocol": 3, "scopes": ["operator.read"],
        "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
    }})
}

fn first(entrance: &Entrance, frame: &Value) -> Result<Claim, Turned> {
    entrance.first(frame.to_string().as_bytes(), &["https://console.example".to_owned()])
}

/// Code of the close, its reason, and the code of the response.
fn turned(entrance: &Entrance, frame: &Value) -> (u16, String, String) {
    match first(entrance, frame) {
        Ok(_) => panic!("{frame} is let in"),
        Err(Turned { refusal, .. }) => {
            assert_eq!(refusal.failure.message, refusal.close.whole_reason(), "the same text");
            let close = &refusal.close;
            (close.code.number(), close.reason().to_owned(), refusal.failure.code.into_owned())
        }
    }
}

#[test]
fn a_right_frame_is_let_in() {
    let claim = first(&entrance(), &connect()).map_err(|turned| turned.refusal.close).unwrap();
    assert_eq!((claim.id.as_str(), claim.role), ("c", Role::Operator));
    assert_eq!(claim.requested, Scopes::named(["operator.read"]));
    let proven = claim.prove(&entrance(), 0, &|_, _, _| false).map_err(|refusal| refusal.close);
    assert_eq!(proven, Ok(None));
}

/// Every row of the protocol's table before the authorization, in its order: of two that fail, the first is told.
#[test]
fn each_check_fails_in_its_turn() {
    let mut frame = connect();
    let mut door = entrance();
    door.origin = Some("https://evil.example".to_owned());
    frame["params"]["role"] = json!("root");
    frame["params"]["minProtocol"] = json!(2);
    frame["params"]["client"]["mode"] = json!(7);
    frame["method"] = json!("keys.list");
    frame["type"] = json!("res");

    let expect = |frame: &Value, close: u16, reason: &str, code: &str| {
        assert_eq!(turned(&door, frame), (close, reason.to_owned(), code.to_owned()));
    };
    expect(&frame, 1_008, "invalid request frame", "invalid_request");
    frame["type"] = json!("req");
    expect(&frame, 1_008, "invalid handshake: first request must be connect", "invalid_request");
    frame["method"] = json!("connect");
    expect(&frame, 1_008, "invalid connect params: at /client/mode: must be a text", "invalid_request");
    frame["params"]["client"]["mode"] = json!("ui");
    expect(&frame, 1_002, "protocol mismatch", "invalid_request");
    let details = first(&door, &frame).map(|_| ()).expect_err("turned").refusal.failure.details;
    assert_eq!(details.map(|details| Value::Object(*details)), Some(json!({"expectedProtocol": 1})));
    frame["params"]["minProtocol"] = json!(1);
    expect(&frame, 1_008, "invalid role", "invalid_request");
    frame["params"]["role"] = json!("node");
    expect(&frame, 1_008, "origin not allowed", "forbidden");
    door.origin = Some("https://console.example".to_owned());
    let claim = first(&door, &frame).map_err(|turned| turned.refusal.close).unwrap();
    let refusal = claim.prove(&door, 0, &|_, _, _| true).expect_err("a node has a device");
    assert_eq!(refusal.close.reason(), "device identity required");
}

#[test]
fn without_an_id_there_is_no_response() {
    let id = |text: &str| entrance().first(text.as_bytes(), &[]).map(|_| ()).expect_err(text).id;
    assert_eq!(id("nonsense"), None);
    assert_eq!(id(r#"{"type":"req","method":"connect"}"#), None);
    assert_eq!(id(r#"{"type":"event","id":"5"}"#).as_deref(), Some("5"));
}

#[test]
fn pages_must_say_where_they_come_from() {
    for mode in ["ui", "webchat"] {
        let mut frame = connect();
        frame["params"]["client"]["mode"] = json!(mode);
        assert_eq!(turned(&entrance(), &frame).1, "origin not allowed");
        let mut door = entrance();
        door.origin = Some("https://kms.example".to_owned());
        assert!(first(&door, &frame).is_ok());
    }
    // A mode that nobody knows is no page.
    let mut frame = connect();
    frame["params"]["client"]["mode"] = json!("toaster");
    assert!(first(&entrance(), &frame).is_ok());
}

#[test]
fn a_device_may_be_needed_whatever_the_role() {
    let mut door = entrance();
    door.needs_device = true;
    let claim = first(&door, &connect()).map_err(|turned| turned.refusal.close).unwrap();
    let refusal = claim.prove(&door, 0, &|_, _, _| true).expect_err("needed");
    assert_eq!(refusal.close.reason(), "device identity required");
    let mut frame = connect();
    frame["params"]["auth"] = json!({"nonce": "other"});
    let claim = first(&entrance(), &frame).map_err(|turned| turned.refusal.close).unwrap();
    let refusal = claim.prove(&entrance(), 0, &|_, _, _| true).expect_err("another challenge");
    assert_eq!(refusal.close.reason(), "device nonce mismatch");
}

fn call(method: &str) -> String {
    json!({"type": "req", "id": "1", "method": method}).to_string()
}

fn error_of(reaction: Reaction) -> (String, String) {
    let (Reaction::Answer(text) | Reaction::AnswerAndClose(text, _)) = reaction else {
        panic!("{reaction:?} is no answer")
    };
    let value: Value = serde_json::from_str(&text).unwrap();
    (value["id"].as_str().unwrap().to_owned(), value["error"]["code"].as_str().unwrap().to_owned())
}

#[test]
fn more_than_ten_calls_in_a_row_without_a_right_end_the_session() {
    let mut session = Conversation::new(Role::Operator, Scopes::named(["operator.read"]));
    for _ in 0..2 {
        for _ in 0..10 {
            let reaction = session.frame(call("keys.sign").as_bytes());
            assert!(matches!(reaction, Reaction::Answer(_)), "{reaction:?}");
            assert_eq!(error_of(reaction).1, "forbidden");
        }
        // One that is allowed begins a new row.
        assert!(matches!(session.frame(call("keys.list").as_bytes()), Reaction::Call { .. }));
        session.answered();
    }
    for _ in 0..10 {
        session.frame(call("keys.sign").as_bytes());
    }
    let Reaction::AnswerAndClose(text, close) = session.frame(call("keys.sign").as_bytes()) else {
        panic!("it goes on")
    };
    assert!(text.contains("forbidden"));
    assert_eq!((close.code.number(), close.reason()), (1_008, "repeated unauthorized calls"));
}

#[test]
fn what_can_not_be_read_is_answered_and_the_session_goes_on() {
    let mut session = Conversation::new(Role::Operator, Scopes::of_role(Role::Operator));
    let invalid = ("invalid".to_owned(), "invalid_request".to_owned());
    assert_eq!(error_of(session.frame(b"\xff")), invalid);
    assert_eq!(error_of(session.frame(b"[]")), invalid);
    assert_eq!(error_of(session.frame(call("connect").as_bytes())).0, "1");
    assert_eq!(error_of(session.frame(call("keys.nothing").as_bytes())).1, "invalid_request");
    let params = json!({"type": "req", "id": "9", "method": "keys.list", "params": []}).to_string();
    assert_eq!(error_of(session.frame(params.as_bytes())), ("9".to_owned(), "invalid_request".to_owned()));
}

#[test]
fn only_so_many_are_in_work() {
    let mut session = Conversation::new(Role::Operator, Scopes::of_role(Role::Operator));
    for _ in 0..IN_FLIGHT_MAX {
        assert!(matches!(session.frame(call("keys.list").as_bytes()), Reaction::Call { .. }));
    }
    assert_eq!(error_of(session.frame(call("keys.list").as_bytes())).1, "rate_limited");
    session.answered();
    assert!(matches!(session.frame(call("keys.list").as_bytes()), Reaction::Call { .. }));
}

proptest! {
    /// Whatever comes, whoever called has an answer, nothing is called without the scope, and no more than 32 are in work.
    #[test]
    fn no_sequence_of_frames_does_harm(
        frames in proptest::collection::vec((0..6_usize, any::<bool>()), 0..200),
        held in 0..4_usize,
    ) {
        let scope = ["operator.read", "operator.write", "operator.admin", "operator.pairing"][held];
        let scopes = Scopes::named([scope]);
        let mut session = Conversation::new(Role::Operator, scopes);
        let (mut in_flight, mut in_a_row) = (0, 0);
        for (which, is_answered) in frames {
            let method = ["keys.list", "keys.sign", "keys.rotate", "audit.tail", "nothing", "connect"][which];
            match session.frame(call(method).as_bytes()) {
                Reaction::Call { method, .. } => {
                    prop_assert!(scopes.covers(method.scope));
                    (in_flight, in_a_row) = (in_flight + 1, 0);
                }
                Reaction::Answer(text) => {
                    if text.contains("forbidden") { in_a_row += 1 }
                    if text.contains("rate_limited") { in_a_row = 0 }
                }
                Reaction::AnswerAndClose(..) => {
                    prop_assert_eq!(in_a_row, FORBIDDEN_IN_A_ROW_MAX);
                    break;
                }
            }
            prop_assert!(in_flight <= IN_FLIGHT_MAX && in_a_row <= FORBIDDEN_IN_A_ROW_MAX);
            if is_answered && in_flight > 0 {
                session.answered();
                in_flight -= 1;
            }
        }
    }

    /// No first frame does harm, and only one that is right is let in.
    #[test]
    fn no_first_frame_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(entrance().first(&bytes, &[]).is_err());
    }
}
