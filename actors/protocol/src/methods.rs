//! Methods, each with the scope that it needs and the REST route that it is.

use super::scopes::{Role, Scope, Scopes};

/// One method.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What it needs beside the principal's policies.
    pub scope: Scope,
    /// What it does.
    pub twin: Twin,
}

/// What a method does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// The same as a route, whose path takes members of `params` by name; the rest is its query, or its body.
    Rest {
        /// HTTP method.
        verb: Verb,
        /// Pattern of the path.
        pattern: &'static str,
    },
    /// Something about the session itself.
    Own(Own),
}

/// What concerns the session that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// Be told of events from now on, in place of those of before.
    Subscribe,
    /// Be told of none.
    Unsubscribe,
    /// Be there.
    Heartbeat,
}

/// HTTP method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

const fn get(name: &'static str, scope: Scope, pattern: &'static str) -> Method {
    Method { name, scope, twin: Twin::Rest { verb: Verb::Get, pattern } }
}

const fn post(name: &'static str, scope: Scope, pattern: &'static str) -> Method {
    Method { name, scope, twin: Twin::Rest { verb: Verb::Post, pattern } }
}

const fn own(name: &'static str, scope: Scope, own: Own) -> Method {
    Method { name, scope, twin: Twin::Own(own) }
}

/// The table.
pub static METHODS: &[Method] = &[
    get("keys.list", Scope::OperatorRead, "/v1/keys"),
    get("keys.get", Scope::OperatorRead, "/v1/keys/{name}"),
    post("keys.verify", Scope::OperatorRead, "/v1/keys/{name}/verify"),
    post("tokens.verify", Scope::OperatorRead, "/v1/tokens/verify"),
    get("health.get", Scope::OperatorRead, "/health"),
    get("cluster.get", Scope::OperatorRead, "/v1/cluster"),
    post("keys.sign", Scope::OperatorWrite, "/v1/keys/{name}/sign"),
    post("keys.encrypt", Scope::OperatorWrite, "/v1/keys/{name}/encrypt"),
    post("keys.decrypt", Scope::OperatorWrite, "/v1/keys/{name}/decrypt"),
    post("tokens.issue", Scope::OperatorWrite, "/v1/tokens"),
    post("keys.rotate", Scope::OperatorAdmin, "/v1/keys/{name}/rotate"),
    post("tokens.revoke", Scope::OperatorAdmin, "/v1/tokens/revoke"),
    get("audit.tail", Scope::OperatorAdmin, "/v1/audit"),
    get("presence.list", Scope::OperatorRead, "/v1/presence"),
    own("events.subscribe", Scope::OperatorRead, Own::Subscribe),
    own("events.unsubscribe", Scope::OperatorRead, Own::Unsubscribe),
    get("device.pair.list", Scope::OperatorPairing, "/v1/devices/requests"),
    post("device.pair.approve", Scope::OperatorPairing, "/v1/devices/requests/{id}/approve"),
    post("device.pair.reject", Scope::OperatorPairing, "/v1/devices/requests/{id}/reject"),
    Method {
        name: "device.pair.remove",
        scope: Scope::OperatorPairing,
        twin: Twin::Rest { verb: Verb::Delete, pattern: "/v1/devices/{id}" },
    },
    post("device.token.rotate", Scope::OperatorAdmin, "/v1/devices/{id}/tokens/{role}/rotate"),
    post("device.token.revoke", Scope::OperatorAdmin, "/v1/devices/{id}/tokens/{role}/revoke"),
    get("ring.get", Scope::NodeSync, "/v1/ring"),
    own("node.heartbeat", Scope::NodeSync, Own::Heartbeat),
];

/// Methods that are for both roles, under the scope of either.
const SHARED: [&str; 2] = ["events.subscribe", "events.unsubscribe"];

impl Method {
    /// Looks a method up.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// A session of this role with these scopes may call it.
    #[must_use]
    pub fn is_open_to(&self, role: Role, scopes: Scopes) -> bool {
        let needed = self.needed_by(role);
        needed.role() == role && scopes.covers(needed)
    }

    /// The scope that a session of this role needs.
    #[must_use]
    pub fn needed_by(&self, role: Role) -> Scope {
        if role == Role::Node && SHARED.contains(&self.name) { Scope::NodeSync } else { self.scope }
    }

    /// Those that a session may call.
    pub fn open_to(role: Role, scopes: Scopes) -> impl Iterator<Item = &'static Self> {
        METHODS.iter().filter(move |method| method.is_open_to(role, scopes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<_> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(names.len(), METHODS.len());
        for method in METHODS {
            assert_eq!(Method::find(method.name), Some(method));
        }
        assert_eq!(Method::find("connect"), None);
    }

    #[test]
    fn who_may_call_what_is_the_table_of_the_protocol() {
        let open = |scope: &str| -> Vec<_> {
            Method::open_to(Role::Operator, Scopes::named([scope])).map(|method| method.name).collect()
        };
        let read = open("operator.read");
        assert!(read.contains(&"keys.verify") && !read.contains(&"keys.sign"));
        let write = open("operator.write");
        assert!(
            write.contains(&"tokens.issue") && write.contains(&"keys.list") && !write.contains(&"audit.tail")
        );
        let admin = open("operator.admin");
        assert!(
            admin.contains(&"keys.rotate") && admin.contains(&"keys.sign") && admin.contains(&"audit.tail")
        );
        assert_eq!(Method::open_to(Role::Operator, Scopes::default()).count(), 0);
        let node: Vec<_> =
            Method::open_to(Role::Node, Scopes::named(["node.sync"])).map(|method| method.name).collect();
        assert_eq!(node, ["events.subscribe", "events.unsubscribe", "ring.get", "node.heartbeat"]);
        let pairing = open("operator.pairing");
        assert!(pairing.iter().all(|name| name.starts_with("device.pair.")) && pairing.len() == 4);
        // A scope of the other role counts for nothing.
        assert_eq!(Method::open_to(Role::Node, Scopes::named(["operator.admin"])).count(), 0);
    }
}
