//! The shipped roles, scopes by name and label, and what must never be permitted.

use std::collections::{BTreeMap, BTreeSet};

use claviger_entity::{ApiKeyName, DeviceId, KeyName, KeyType, Owner, PolicyName, RoleName, Tier, Usage};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

struct World {
    labels: BTreeMap<String, String>,
    key: KeyName,
    name: ApiKeyName,
    policy: PolicyName,
    owner: Owner,
}

impl World {
    fn new(key: &str, labels: &[(&str, &str)]) -> Self {
        Self {
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            key: key.parse().unwrap(),
            name: "ci".parse().unwrap(),
            policy: "p".parse().unwrap(),
            owner: "somebody".parse().unwrap(),
        }
    }

    fn resource(&self, permission: Permission) -> ResourceRef<'_> {
        match permission.target() {
            Target::Key => ResourceRef::Key(KeyFacts {
                name: &self.key,
                key_type: KeyType::Es256,
                usage: Usage::Token,
                tier: Tier::Signing,
                labels: &self.labels,
            }),
            Target::ApiKey => ResourceRef::ApiKey { id: Uuid::from_u128(9), name: &self.name, roles: &[] },
            Target::Policy => ResourceRef::Policy(&self.policy),
            Target::Secret => ResourceRef::Secret { owner: &self.owner, name: "s" },
            Target::AuthToken => ResourceRef::AuthToken { owner: &self.owner, provider: "p" },
            Target::OfflineToken => ResourceRef::OfflineToken { owner: &self.owner },
            Target::Deployment => ResourceRef::Deployment,
        }
    }

    fn permits(&self, engine: &Engine, roles: &[RoleName], permission: Permission) -> bool {
        let principal = PrincipalRef::ApiKey { id: Uuid::from_u128(7), name: &self.name, roles };
        let permitted = engine.permits(&principal, permission, &self.resource(permission));
        assert!(!permitted || engine.might(&principal, permission), "{permission:?}");
        permitted
    }
}

fn roles(names: &[&str]) -> Vec<RoleName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn document(text: &str) -> PolicyDocument {
    PolicyDocument::parse(&"p".parse().unwrap(), text).unwrap_or_else(|error| panic!("{error}"))
}

fn engine(texts: &[&str]) -> Engine {
    let documents: Vec<PolicyDocument> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| PolicyDocument::parse(&format!("p{index}").parse().unwrap(), text).unwrap())
        .collect();
    Engine::new(&documents, false)
}

#[test]
fn schema_names_every_permission_and_no_other() {
    let fixed = schema::fixed().expect("schema and roles are sound");
    let groups = ["operating", "signing", "verifying", "encrypting", "auditing", "storing", "pairing"];
    let named: BTreeSet<String> = fixed.schema.actions().map(|uid| uid.id().unescaped().to_owned()).collect();
    let known: BTreeSet<String> = Permission::ALL
        .iter()
        .map(|permission| permission.as_str())
        .chain(groups)
        .map(str::to_owned)
        .collect();
    assert_eq!(named, known);
    PolicyDocument::parse(&"roles".parse().unwrap(), roles_text()).expect("the shipped roles fit the schema");
}

/// What is documented of roles with a shipped meaning on every key, beside looks at keys.
fn held(storing: &[Permission]) -> [(&str, &[Permission]); 7] {
    use Permission::*;
    [
        ("custodian", storing),
        ("owner", &[]),
        (
            "operator",
            &[
                KeyCreate,
                KeyImport,
                KeyUpdate,
                KeyDelete,
                KeyRestore,
                KeyRotate,
                KeySuspend,
                KeyResume,
                KeyCompromise,
                KeyDestroy,
                TokenRevoke,
                TokenRevokeAny,
                ClusterRead,
                AuditRead,
                AuditVerify,
                AuditHash,
                MetricsRead,
                DeviceRead,
                IncidentRead,
                CredentialScan,
                AlertRead,
                AlertAck,
                AlertSilence,
            ],
        ),
        (
            "signer",
            &[
                KeySign,
                KeyHmac,
                KeyVerify,
                TokenIssue,
                TokenVerify,
                TokenRefresh,
                TokenRevoke,
                TokenIntrospect,
                RandomGenerate,
            ],
        ),
        ("verifier", &[KeyVerify, TokenVerify, TokenIntrospect]),
        ("encrypter", &[KeyEncrypt, KeyDecrypt, KeyRewrap, KeyDatakey, RandomGenerate]),
        (
            "auditor",
            &[
                ApiKeyRead,
                DeviceRead,
                PolicyRead,
                ClusterRead,
                AuditRead,
                AuditVerify,
                AuditHash,
                MetricsRead,
                IncidentRead,
                CredentialScan,
                AlertRead,
                ReportRead,
            ],
        ),
    ]
}

#[test]
fn shipped_roles_hold_what_they_are_documented_to_hold() {
    use Permission::*;
    let look = [KeyRead, KeyReadPublic, EventsRead];
    let stored = [Target::Secret, Target::AuthToken, Target::OfflineToken];
    let storing: Vec<Permission> =
        Permission::ALL.iter().copied().filter(|permission| stored.contains(&permission.target())).collect();
    assert_eq!(storing.len(), 13);
    let table = held(&storing);
    let (world, engine) = (World::new("orders", &[]), engine(&[]));
    for (name, held) in table {
        let role = roles(&[name]);
        for &permission in Permission::ALL {
            let is_seen = look.contains(&permission) && !matches!(name, "custodian" | "owner");
            let expected = held.contains(&permission) || is_seen;
            assert_eq!(world.permits(&engine, &role, permission), expected, "{role:?} {permission:?}");
        }
    }
    for &permission in Permission::ALL {
        assert!(world.permits(&engine, &roles(&["admin"]), permission));
        for nobody in [&[][..], &["Admin"], &["administrator"], &["claviger.admin"]] {
            assert!(!world.permits(&engine, &roles(nobody), permission), "{nobody:?} {permission:?}");
        }
    }
}

/// Roles that are called as scopes hold what sessions do with the scope, and nothing else; for API keys as for devices.
#[test]
fn roles_of_scopes_hold_what_the_scopes_stand_for() {
    use Permission::*;
    let table: [(&str, &[Permission]); 5] = [
        ("operator.read", &[KeyRead, KeyReadPublic, KeyVerify, TokenVerify, ClusterRead, EventsRead]),
        ("operator.write", &[KeySign, KeyEncrypt, KeyDecrypt, TokenIssue]),
        ("operator.admin", &[KeyRotate, TokenRevoke, TokenRevokeAny, AuditRead, DeviceRead, DeviceToken]),
        ("operator.pairing", &[DeviceRead, DevicePair]),
        ("node.sync", &[KeyRead, KeyReadPublic, EventsRead]),
    ];
    let (world, engine) = (World::new("orders", &[]), engine(&[]));
    for (name, held) in table {
        assert!(SHIPPED_ROLES.contains(&name));
        let role = roles(&[name]);
        let device = PrincipalRef::Device { id: DeviceId::new([7; 32]), roles: &role };
        for &permission in Permission::ALL {
            let expected = held.contains(&permission);
            assert_eq!(world.permits(&engine, &role, permission), expected, "{name} {permission:?}");
            let permits = engine.permits(&device, permission, &world.resource(permission));
            assert_eq!(permits, expected, "{name} {permission:?}");
        }
    }
}

/// A policy about one kind of principal gives nothing to another, and whoever hands something on can be held against it.
#[test]
fn devices_are_a_kind_of_their_own() {
    let name: ApiKeyName = "ci".parse().unwrap();
    let held = roles(&["deployer"]);
    let key = PrincipalRef::ApiKey { id: Uuid::from_u128(7), name: &name, roles: &held };
    let device = PrincipalRef::Device { id: DeviceId::new([7; 32]), roles: &held };
    let table = [
        ("principal in Claviger::Role::\"deployer\"", true, true),
        ("principal", true, true),
        ("principal is Claviger::Device in Claviger::Role::\"deployer\"", false, true),
        ("principal is Claviger::Device", false, true),
        ("principal is Claviger::ApiKey in Claviger::Role::\"deployer\"", true, false),
    ];
    for (who, of_key, of_device) in table {
        let engine =
            engine(&[&format!("permit ({who}, action == Claviger::Action::\"random.generate\", resource);")]);
        let may = |principal| engine.permits(principal, Permission::RandomGenerate, &ResourceRef::Deployment);
        assert_eq!((may(&key), may(&device)), (of_key, of_device), "{who}");
        assert_eq!(engine.permits_as_much(&device, &key), of_key || !of_device, "{who}");
        assert!(!engine.favours(&device), "{who}");
    }
    let id = "07".repeat(32);
    let engine = engine(&[&format!("permit (principal == Claviger::Device::\"{id}\", action, resource);")]);
    assert!(engine.favours(&device) && !engine.favours(&key));
    // What a device says of itself is nothing that a policy could ask.
    for asked in ["name", "platform"] {
        let text = format!(
            "permit (principal is Claviger::Device, action, resource) when {{ principal.{asked} == \"x\" }};"
        );
        assert!(PolicyDocument::parse(&"p".parse().unwrap(), &text).is_err());
    }
}

/// The role `owner` opens what is stored for the name of its holder, and nothing else.
#[test]
fn owners_have_what_is_theirs() {
    let engine = engine(&[
        "permit (principal is Claviger::Subject, action in Claviger::Action::\"storing\", resource)
        when { principal.issuer == \"https://a\" && resource.owner == principal.subject };",
    ]);
    let name: ApiKeyName = "alice".parse().unwrap();
    let (owners, others) = (roles(&["owner"]), roles(&["encrypter"]));
    let key = |roles| PrincipalRef::ApiKey { id: Uuid::from_u128(7), name: &name, roles };
    let bearer = |issuer| PrincipalRef::Subject { issuer, subject: "alice", roles: &[] };
    for (owner, is_own) in [
        ("alice", true),
        ("Alice", false),
        ("alice ", false),
        ("alic\u{e9}", false),
        ("alice/..", false),
        ("*", false),
    ] {
        let owner: Owner = owner.parse().unwrap();
        for (permission, resource) in [
            (Permission::SecretRead, ResourceRef::Secret { owner: &owner, name: "s" }),
            (Permission::SecretList, ResourceRef::Secret { owner: &owner, name: "" }),
            (Permission::AuthTokenWrite, ResourceRef::AuthToken { owner: &owner, provider: "p" }),
            (Permission::OfflineTokenDelete, ResourceRef::OfflineToken { owner: &owner }),
        ] {
            let permits = |principal| engine.permits(&principal, permission, &resource);
            assert_eq!(permits(key(&owners)), is_own, "{owner} {permission:?}");
            assert_eq!(permits(bearer("https://a")), is_own, "{owner} {permission:?}");
            assert!(!permits(key(&others)) && !permits(bearer("https://b")), "{owner} {permission:?}");
        }
    }
    // It gives each holder something else, so nobody but an administrator hands it out.
    assert!(engine.favours(&key(&owners)) && !engine.favours(&key(&others)));
}

/// What the documentation shows can be put as it stands there.
#[test]
fn examples_of_the_documentation_are_policies() {
    let page = include_str!("../../../docs/access.md");
    let examples = page.split("\n```cedar\n").skip(1);
    let examples: Vec<&str> = examples.filter_map(|rest| rest.split("\n```\n").next()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        assert_eq!(document(example).warnings, Vec::<String>::new(), "{example}");
    }
}

#[test]
fn policies_grant_by_name_pattern_label_and_type() {
    let texts = [
        "permit (principal in Claviger::Role::\"shop\", action in Claviger::Action::\"encrypting\", resource)
           when { resource.name like \"shop-*\" };",
        "permit (principal in Claviger::Role::\"team\", action == Claviger::Action::\"key.rotate\", resource)
           when { resource.hasTag(\"team\") && resource.getTag(\"team\") == \"blue\" };",
        "permit (principal == Claviger::ApiKey::\"00000000000000000000000000000007\",
           action == Claviger::Action::\"key.update\", resource == Claviger::Key::\"exact\");",
    ];
    let engine = engine(&texts);
    let (shop, team) = (roles(&["shop"]), roles(&["team"]));
    let permits = |key: &str, labels: &[(&str, &str)], roles: &[RoleName], permission| {
        World::new(key, labels).permits(&engine, roles, permission)
    };
    assert!(permits("shop-1", &[], &shop, Permission::KeyEncrypt));
    for other in ["sho", "shop", "Shop-1", "xshop-1"] {
        assert!(!permits(other, &[], &shop, Permission::KeyEncrypt), "{other}");
    }
    assert!(!permits("shop-1", &[], &shop, Permission::KeyRotate));
    assert!(permits("any", &[("team", "blue")], &team, Permission::KeyRotate));
    assert!(!permits("any", &[("team", "red")], &team, Permission::KeyRotate));
    assert!(!permits("any", &[("other", "blue")], &team, Permission::KeyRotate));
    assert!(!permits("any", &[], &team, Permission::KeyRotate));
    assert!(permits("exact", &[], &[], Permission::KeyUpdate));
    assert!(!permits("exact2", &[], &[], Permission::KeyUpdate));
}

#[test]
fn a_forbid_wins_but_never_over_mending_policies() {
    let engine = engine(&["forbid (principal, action, resource);"]);
    let world = World::new("k", &[]);
    let admin = roles(&["admin"]);
    for &permission in Permission::ALL {
        let about_policies = permission.target() == Target::Policy;
        assert_eq!(world.permits(&engine, &admin, permission), about_policies, "{permission:?}");
    }
}

#[test]
fn an_api_key_may_be_allowed_to_rotate_itself_only() {
    let engine = engine(&["permit (principal, action == Claviger::Action::\"api_key.rotate\", resource)
        when { principal == resource };"]);
    let name: ApiKeyName = "ci".parse().unwrap();
    let me = PrincipalRef::ApiKey { id: Uuid::from_u128(1), name: &name, roles: &[] };
    let of = |id| ResourceRef::ApiKey { id: Uuid::from_u128(id), name: &name, roles: &[] };
    assert!(engine.permits(&me, Permission::ApiKeyRotate, &of(1)));
    assert!(!engine.permits(&me, Permission::ApiKeyRotate, &of(2)));
}

#[test]
fn policies_that_single_somebody_out_are_known() {
    let me: ApiKeyName = "ci".parse().unwrap();
    let roles = roles(&["deployer"]);
    let ci = PrincipalRef::ApiKey { id: Uuid::from_u128(7), name: &me, roles: &roles };
    let permit = |who: &str, when: &str| format!("permit ({who}, action, resource) {when};");
    let table = [
        (permit("principal in Claviger::Role::\"deployer\"", ""), false),
        (permit("principal", "when { resource.name == \"principal\" }"), false),
        (permit("principal", "when { principal == resource }"), false),
        (permit("principal", "unless { resource == principal }"), false),
        (permit("principal", "when { principal == resource || principal.hasTag(\"x\") }"), true),
        (permit("principal is Claviger::ApiKey", "when { principal.name like \"ci-*\" }"), true),
        (
            permit(
                "principal is Claviger::ApiKey in Claviger::Role::\"deployer\"",
                "when { principal.name == \"ci\" }",
            ),
            true,
        ),
        (
            permit(
                "principal is Claviger::ApiKey in Claviger::Role::\"other\"",
                "when { principal.name == \"ci\" }",
            ),
            false,
        ),
        (permit("principal == Claviger::ApiKey::\"00000000000000000000000000000007\"", ""), true),
        (permit("principal in Claviger::ApiKey::\"00000000000000000000000000000007\"", ""), true),
        (permit("principal == Claviger::ApiKey::\"00000000000000000000000000000008\"", ""), false),
        (permit("principal is Claviger::Subject", "when { principal.subject == \"x\" }"), false),
    ];
    for (text, expected) in table {
        assert_eq!(
            (engine(&[&text]).favours(&ci), engine(&[&text]).restrains(&ci)),
            (expected, false),
            "{text}"
        );
        let text = text.replacen("permit", "forbid", 1);
        assert_eq!(
            (engine(&[&text]).favours(&ci), engine(&[&text]).restrains(&ci)),
            (false, expected),
            "{text}"
        );
    }
    assert!(!engine(&[]).favours(&ci) && !engine(&[]).restrains(&ci));
}

#[test]
fn bearers_of_tokens_are_named_by_issuer_and_subject() {
    let engine = engine(&["permit (principal is Claviger::Subject, action, resource)
        when { principal.issuer == \"https://a\" && principal.subject == \"job\" };"]);
    let world = World::new("k", &[]);
    let permits = |issuer, subject| {
        let principal = PrincipalRef::Subject { issuer, subject, roles: &[] };
        engine.permits(&principal, Permission::KeyRotate, &world.resource(Permission::KeyRotate))
    };
    assert!(permits("https://a", "job"));
    assert!(!permits("https://b", "job") && !permits("https://a", "job2") && !permits("https://a#job", ""));
}

#[test]
fn a_damaged_set_lets_only_administrators_in() {
    let permit_all = document("permit (principal, action, resource);");
    let engine = Engine::new([&permit_all], true);
    let world = World::new("k", &[]);
    for &permission in Permission::ALL {
        assert!(world.permits(&engine, &roles(&["admin"]), permission));
        assert!(!world.permits(&engine, &roles(&["operator"]), permission));
    }
}

#[test]
fn texts_that_are_no_policies_are_refused_with_a_place() {
    let parse = |text: &str| PolicyDocument::parse(&"p".parse().unwrap(), text).map(|_| ());
    let table = [
        ("", "holds no statement"),
        ("// only a comment", "holds no statement"),
        ("permit", "not valid Cedar"),
        ("permit (principal, action, resource)", "not valid Cedar"),
        ("permit (principal == ?principal, action, resource);", "template"),
        ("permit (principal in Claviger::Nothing::\"x\", action, resource);", "schema"),
        ("permit (principal, action == Claviger::Action::\"key.fly\", resource);", "schema"),
        ("permit (principal, action, resource) when { resource.color == 1 };", "schema"),
        ("permit (principal, action, resource) when { context.hour > 1 };", "schema"),
    ];
    for (text, expected) in table {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let error =
        parse("permit (principal, action, resource);\npermit (principal, bogus, resource);").unwrap_err();
    assert!(error.to_string().contains("(line 2, column "), "{error}");
    assert_eq!(parse(&"x".repeat(TEXT_MAX_BYTES + 1)), Err(PolicyError::TooLong));
    let nested = |depth: usize| {
        let (open, close) = ("(".repeat(depth), ")".repeat(depth));
        format!("permit (principal, action, resource) when {{ {open}true{close} }};")
    };
    assert_eq!((parse(&nested(23)), parse(&nested(24))), (Ok(()), Err(PolicyError::TooDeep)));
    let many = |statements: usize| "permit (principal, action, resource);".repeat(statements);
    assert_eq!((parse(&many(170)), parse(&many(171))), (Ok(()), Err(PolicyError::TooLong)));
    assert!(document("forbid (principal, action, resource);").forbids());
    assert!(!document("permit (principal, action, resource);").forbids());
}

proptest! {
    /// The index leaves out only what could not have mattered.
    #[test]
    fn the_index_decides_as_the_whole_set_does(
        picks in prop::collection::vec((0_usize..7, 0_usize..4, any::<bool>()), 0..12),
        held in prop::collection::vec(0_usize..3, 0..3),
        asked in 0_usize..Permission::ALL.len(),
    ) {
        let who = ["principal", "principal is Claviger::ApiKey", "principal is Claviger::Subject", "principal in Claviger::Role::\"a\"", "principal in Claviger::Role::\"b\"", "principal is Claviger::Device",
            "principal == Claviger::ApiKey::\"00000000000000000000000000000007\""];
        let what = ["action", "action == Claviger::Action::\"key.read\"", "action in Claviger::Action::\"signing\"",
            "action in [Claviger::Action::\"key.read\", Claviger::Action::\"encrypting\"]"];
        let texts: Vec<String> = picks.iter().map(|(principal, action, forbid)| {
            let effect = if *forbid { "forbid" } else { "permit" };
            format!("{effect} ({}, {}, resource);", who[*principal], what[*action])
        }).collect();
        let engine = engine(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let role_names = ["a", "b", "verifier"];
        let roles = roles(&held.iter().map(|index| role_names[*index]).collect::<Vec<_>>());
        let world = World::new("k", &[]);
        let permission = Permission::ALL[asked];

        let fixed = schema::fixed().unwrap();
        let principal = PrincipalRef::ApiKey { id: Uuid::from_u128(7), name: &world.name, roles: &roles };
        let resource = world.resource(permission);
        let entities = fixed.actions.clone()
            .add_entities([principal.entity(&fixed.types).unwrap(), resource.entity(fixed).unwrap()], None)
            .unwrap();
        let request = cedar_policy::Request::new(
            principal.uid(&fixed.types), fixed.uids[permission.index()].clone(), resource.uid(fixed),
            cedar_policy::Context::empty(), Some(&fixed.schema),
        ).unwrap();
        let mut whole = fixed.roles.clone();
        for (index, text) in texts.iter().enumerate() {
            let policy = cedar_policy::Policy::parse(Some(cedar_policy::PolicyId::new(format!("t{index}"))), text);
            whole.add(policy.unwrap()).unwrap();
        }
        let expected = cedar_policy::Authorizer::new().is_authorized(&request, &whole, &entities).decision()
            == cedar_policy::Decision::Allow;
        prop_assert_eq!(world.permits(&engine, &roles, permission), expected);
    }

    #[test]
    fn nothing_panics(text in ".{0,200}") {
        let _ = PolicyDocument::parse(&"p".parse().unwrap(), &text);
    }
}
