//! Decisions about devices, as tables and as sequences.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use claviger_entity::{DeviceId, DeviceRole, RoleName, Scope};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    ActingDevice, After, Approval, ClientFacts, Device, DeviceChange, DeviceCommand, DeviceError,
    DeviceToken, Devices, PairingRecord, PairingRequest, REQUESTS_A_PRINCIPAL, REQUESTS_AN_ADDRESS,
    REQUESTS_MAX, Settled, device_id, has_room,
};
use crate::{access::NewSecret, keyring::record::Time};

fn now() -> Time {
    Time::from_timestamp(1_800_000_000, 0).unwrap()
}

fn request(key: u8, role: DeviceRole, scopes: &[Scope]) -> PairingRecord {
    let request = PairingRequest {
        public_key: [key; 32],
        role,
        scopes: scopes.iter().copied().collect(),
        client: ClientFacts::new("cli", "1", "linux", None, "cli"),
        address: None,
    };
    request.record(Uuid::from_u128(key.into()), "p".to_owned(), now())
}

fn operator(key: u8, scopes: &[Scope]) -> PairingRecord {
    request(key, DeviceRole::Operator, scopes)
}

fn secret(byte: u8) -> NewSecret {
    NewSecret { text: format!("clvd_{byte}").into(), hash: [byte; 32] }
}

fn approve(devices: &Devices, request: &PairingRecord, approval: &Approval) -> DeviceCommand {
    let before = devices.find(&request.device).map(AsRef::as_ref);
    let judged = approval.roles(request, before).unwrap();
    let request = Some(Box::new(request.clone()));
    DeviceCommand::Approve { request, approval: approval.clone(), judged, by: "o".to_owned() }
}

fn apply(devices: &Devices, change: DeviceChange) -> Devices {
    match change.after {
        After::Same => devices.clone(),
        After::Put(device) => devices.with(&change.id, Some(*device)),
        After::Gone => devices.with(&change.id, None),
    }
}

fn approved(devices: &Devices, request: &PairingRecord) -> Devices {
    apply(devices, approve(devices, request, &Approval::default()).decide(devices, now()).unwrap())
}

fn refused(devices: &Devices, command: DeviceCommand) -> DeviceError {
    command.decide(devices, now()).err().unwrap()
}

fn take(id: DeviceId, byte: u8) -> DeviceCommand {
    DeviceCommand::TakeToken { id, role: DeviceRole::Operator, secret: secret(byte) }
}

fn rotate(devices: &Devices, id: DeviceId, byte: u8) -> DeviceCommand {
    let role = DeviceRole::Operator;
    let judged =
        devices.find(&id).and_then(|device| device.grants.get(&role)).map(|grant| grant.roles.clone());
    DeviceCommand::RotateToken { id, role, judged: judged.unwrap_or_default(), secret: secret(byte) }
}

fn names(roles: &[RoleName]) -> Vec<&str> {
    roles.iter().map(RoleName::as_str).collect()
}

#[test]
fn an_approval_gives_what_was_asked_for_or_less() {
    let none = Devices::default();
    let asked = operator(1, &[Scope::OperatorRead, Scope::OperatorWrite, Scope::NodeSync]);
    assert!(!asked.scopes.contains(&Scope::NodeSync), "a scope of another role is not asked for");
    let devices = approved(&none, &asked);
    let grant = &devices.find(&asked.device).unwrap().grants[&DeviceRole::Operator];
    assert_eq!(grant.scopes, asked.scopes);
    assert_eq!(names(&grant.roles), ["operator.read", "operator.write"]);
    assert_eq!((&grant.token, grant.approved_by.as_str()), (&DeviceToken::Awaited, "o"));

    let less = Approval { scopes: Some([Scope::OperatorRead].into()), roles: Some(Vec::new()) };
    let change = approve(&none, &asked, &less).decide(&none, now()).unwrap();
    assert_eq!(change.settled, Some(Settled::Request(asked.id)));
    let grant = &apply(&none, change).find(&asked.device).unwrap().grants[&DeviceRole::Operator].clone();
    assert_eq!((grant.scopes.len(), grant.roles.len()), (1, 0));

    let more = Approval { scopes: Some([Scope::OperatorAdmin].into()), roles: None };
    assert!(matches!(more.roles(&asked, None), Err(DeviceError::Invalid(_))));
    let many = (0..17).map(|role| format!("r{role}").parse().unwrap()).collect();
    let many = Approval { scopes: None, roles: Some(many) };
    assert!(matches!(many.roles(&asked, None), Err(DeviceError::Invalid(_))));
}

#[test]
fn a_device_that_asks_for_more_keeps_what_it_had_and_gets_no_other_token() {
    let first = operator(1, &[Scope::OperatorRead]);
    let id = first.device;
    let devices = approved(&Devices::default(), &first);
    let devices = apply(&devices, take(id, 9).decide(&devices, now()).unwrap());
    let devices = approved(&devices, &operator(1, &[Scope::OperatorAdmin]));
    let device = devices.find(&id).unwrap();
    let grant = &device.grants[&DeviceRole::Operator];
    assert_eq!(grant.scopes, [Scope::OperatorRead, Scope::OperatorAdmin].into());
    assert_eq!(names(&grant.roles), ["operator.admin", "operator.read"]);
    assert_eq!(grant.token_hash(), Some(&[9; 32]));
    let reach = device.grants[&DeviceRole::Operator].approved();
    assert!(reach.holds_all([Scope::OperatorAdmin].into_iter().collect()));
    assert!(!reach.holds_all([Scope::OperatorPairing].into_iter().collect()));
    assert!(!device.grants.contains_key(&DeviceRole::Node));

    let devices = approved(&devices, &request(1, DeviceRole::Node, &[Scope::NodeSync]));
    let device = devices.find(&id).unwrap();
    assert_eq!(device.grants[&DeviceRole::Node].token, DeviceToken::Awaited);
    assert_eq!(device.grants[&DeviceRole::Operator].token_hash(), Some(&[9; 32]));
}

#[test]
fn what_was_judged_is_what_is_given() {
    let asked = operator(1, &[Scope::OperatorRead]);
    let late = approve(&Devices::default(), &asked, &Approval::default());
    // Meanwhile somebody else gave it more.
    let devices = approved(&Devices::default(), &operator(1, &[Scope::OperatorAdmin]));
    assert_eq!(refused(&devices, late), DeviceError::Changed);
    let late = rotate(&devices, asked.device, 1);
    let devices = approved(&devices, &asked);
    assert_eq!(refused(&devices, late), DeviceError::Changed);
}

#[test]
fn settling_comes_too_late_after_five_minutes() {
    let devices = Devices::default();
    let asked = operator(1, &[]);
    for (after, is_late) in [(299, false), (300, true), (3_000, true)] {
        let at = now() + TimeDelta::seconds(after);
        let reject = DeviceCommand::Reject { request: Some(Box::new(asked.clone())) };
        let outcomes = [
            approve(&devices, &asked, &Approval::default()).decide(&devices, at).err(),
            reject.decide(&devices, at).err(),
        ];
        let expected = is_late.then_some(DeviceError::NoRequest);
        assert_eq!(outcomes, [expected.clone(), expected], "{after}");
    }
    assert_eq!(refused(&devices, DeviceCommand::Reject { request: None }), DeviceError::NoRequest);
}

#[test]
fn what_is_not_there_is_not_changed() {
    let devices = approved(&Devices::default(), &operator(1, &[]));
    let (known, unknown) = (device_id(&[1; 32]), device_id(&[2; 32]));
    let revoke = |id, role| DeviceCommand::RevokeToken { id, role };
    assert_eq!(refused(&devices, DeviceCommand::Remove { id: unknown }), DeviceError::NotFound);
    assert_eq!(refused(&devices, take(unknown, 1)), DeviceError::NotFound);
    assert_eq!(refused(&devices, rotate(&devices, unknown, 1)), DeviceError::NotFound);
    assert_eq!(refused(&devices, revoke(unknown, DeviceRole::Operator)), DeviceError::NotFound);
    assert_eq!(refused(&devices, revoke(known, DeviceRole::Node)), DeviceError::NotPaired);
    // A damaged row can be removed all the same.
    let damaged = Devices::new([], [unknown].into());
    assert!(damaged.is_damaged(&unknown) && damaged.find(&unknown).is_none());
    let change = DeviceCommand::Remove { id: unknown }.decide(&damaged, now()).unwrap();
    assert!(!apply(&damaged, change).is_damaged(&unknown));
    // And is mended by an approval.
    assert!(!approved(&damaged, &operator(2, &[])).is_damaged(&unknown));
}

#[test]
fn sessions_end_with_the_token_or_the_device() {
    let devices = approved(&Devices::default(), &operator(1, &[Scope::OperatorRead]));
    let (id, role) = (device_id(&[1; 32]), DeviceRole::Operator);
    let devices = apply(&devices, take(id, 7).decide(&devices, now()).unwrap());
    let by_token = ActingDevice { id, role, token: Some([7; 32]) };
    let by_other = ActingDevice { id, role, token: None };
    assert!(devices.still(&by_token).is_some() && devices.still(&by_other).is_some());
    let revoke = DeviceCommand::RevokeToken { id, role };
    let revoked = apply(&devices, revoke.decide(&devices, now()).unwrap());
    assert!(revoked.still(&by_token).is_none() && revoked.still(&by_other).is_some());
    let rotated = apply(&devices, rotate(&devices, id, 8).decide(&devices, now()).unwrap());
    assert!(rotated.still(&by_token).is_none() && rotated.by_token(&[8; 32]).is_some());
    let removed = apply(&devices, DeviceCommand::Remove { id }.decide(&devices, now()).unwrap());
    assert!(removed.still(&by_token).is_none() && removed.still(&by_other).is_none());
}

#[test]
fn requests_have_room_until_they_have_none() {
    for (all, of_principal, of_address, has) in [
        (0, 0, 0, true),
        (REQUESTS_MAX - 1, REQUESTS_A_PRINCIPAL - 1, REQUESTS_AN_ADDRESS - 1, true),
        (REQUESTS_MAX, 0, 0, false),
        (500, REQUESTS_A_PRINCIPAL, 0, false),
        (100, 100, REQUESTS_AN_ADDRESS, false),
    ] {
        assert_eq!(has_room(all, of_principal, of_address).is_ok(), has, "{all} {of_principal} {of_address}");
    }
}

#[test]
fn what_a_client_says_of_itself_is_harmless() {
    let long = "ä".repeat(1_000);
    let facts = ClientFacts::new("a\u{1b}[2J\nb", &long, "x\u{202e}y", Some("\u{0}"), "");
    assert_eq!((facts.id(), facts.platform(), facts.device_family()), ("a[2Jb", "xy", Some("")));
    assert_eq!(facts.version().len(), 128);
}

#[derive(Debug, Clone)]
enum Step {
    Approve(u8, bool, u8),
    Take(u8),
    Rotate(u8),
    Revoke(u8),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_u8..3;
    prop_oneof![
        (key.clone(), any::<bool>(), any::<u8>())
            .prop_map(|(key, node, scopes)| Step::Approve(key, node, scopes)),
        key.clone().prop_map(Step::Take),
        key.clone().prop_map(Step::Rotate),
        key.clone().prop_map(Step::Revoke),
        key.prop_map(Step::Remove),
    ]
}

/// What a device is known to have: the token that is accepted, whether the first one is still owed, whether it was revoked.
#[derive(Default, Clone)]
struct Known {
    scopes: BTreeSet<Scope>,
    token: Option<u8>,
    owed: bool,
}

proptest! {
    /// Whatever happens in whatever order: the tokens that are found are those that were handed out last, each once; a first one is
    /// handed out once an approval of something new; a revoked one comes back by no other way than a rotation; scopes never grow unasked.
    #[test]
    fn tokens_and_scopes_follow_approvals(steps in prop::collection::vec(step(), 1..60)) {
        let mut devices = Devices::default();
        let mut known: BTreeMap<u8, Known> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let byte = u8::try_from(number).unwrap() + 1;
            let of = |key: u8| device_id(&[key; 32]);
            match step {
                Step::Approve(key, node, bits) => {
                    let role = if node { DeviceRole::Node } else { DeviceRole::Operator };
                    let some = Scope::ALL.iter().enumerate().filter(|(bit, _)| (bits >> bit) & 1 == 1);
                    let scopes: Vec<Scope> = some.map(|(_, scope)| *scope).collect();
                    let asked = request(key, role, &scopes);
                    devices = approved(&devices, &asked);
                    if !node {
                        let fresh = Known { owed: true, ..Known::default() };
                        let entry = known.entry(key).or_insert(fresh);
                        entry.scopes.extend(asked.scopes);
                    }
                }
                Step::Take(key) => {
                    let owed = known.get(&key).is_some_and(|known| known.owed);
                    let taken = take(of(key), byte).decide(&devices, now());
                    prop_assert_eq!(taken.is_ok(), owed);
                    if let Ok(taken) = taken {
                        devices = apply(&devices, taken);
                        let entry = known.get_mut(&key).unwrap();
                        (entry.owed, entry.token) = (false, Some(byte));
                    }
                }
                Step::Rotate(key) => {
                    let rotated = rotate(&devices, of(key), byte).decide(&devices, now());
                    prop_assert_eq!(rotated.is_ok(), known.contains_key(&key));
                    if let Ok(rotated) = rotated {
                        devices = apply(&devices, rotated);
                        let entry = known.get_mut(&key).unwrap();
                        (entry.owed, entry.token) = (false, Some(byte));
                    }
                }
                Step::Revoke(key) => {
                    let command = DeviceCommand::RevokeToken { id: of(key), role: DeviceRole::Operator };
                    if let Ok(revoked) = command.decide(&devices, now()) {
                        devices = apply(&devices, revoked);
                        let entry = known.get_mut(&key).unwrap();
                        (entry.owed, entry.token) = (false, None);
                    }
                }
                Step::Remove(key) => {
                    if let Ok(removed) = (DeviceCommand::Remove { id: of(key) }).decide(&devices, now()) {
                        devices = apply(&devices, removed);
                        known.remove(&key);
                    }
                }
            }
            for handed in 1..=byte {
                let holder = devices.by_token(&[handed; 32]).map(|(device, _)| device.id);
                let expected = known.iter().find(|(_, known)| known.token == Some(handed));
                prop_assert_eq!(holder, expected.map(|(key, _)| of(*key)));
            }
            for key in 0..3 {
                let grant = devices.find(&of(key)).and_then(|device| device.grants.get(&DeviceRole::Operator));
                let scopes = grant.map(|grant| grant.scopes.clone());
                prop_assert_eq!(scopes, known.get(&key).map(|known| known.scopes.clone()));
            }
            // What is kept comes back as it was.
            for device in devices.after(None) {
                let text = serde_json::to_string(&device.grants).unwrap();
                prop_assert_eq!(&serde_json::from_str::<BTreeMap<_, _>>(&text).unwrap(), &device.grants);
            }
        }
    }
}

#[test]
fn decisions_are_made_anew_when_roles_change() {
    let devices = approved(&Devices::default(), &operator(1, &[Scope::OperatorRead]));
    let device = |devices: &Devices| Device::clone(devices.find(&device_id(&[1; 32])).unwrap());
    let same = device(&devices);
    let wider = device(&approved(&devices, &operator(1, &[Scope::OperatorAdmin])));
    assert!(Devices::default().judges_otherwise(&same.id, Some(&same)));
    assert!(!devices.judges_otherwise(&same.id, Some(&same)) && !devices.judges_otherwise(&same.id, None));
    assert!(devices.judges_otherwise(&same.id, Some(&wider)));
}
