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
}

/// HTTP method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET.
    Get,
    /// POST.
    Post,
}

const fn get(name: &'static str, scope: Scope, pattern: &'static str) -> Method {
    Method { name, scope, twin: Twin::Rest { verb: Verb::Get, pattern } }
}

const fn post(name: &'static str, scope: Scope, pattern: &'static str) -> Method {
    Method { name, scope, twin: Twin::Rest { verb: Verb::Post, pattern } }
}

/// The table.
pub static METHODS: &[Method] = &[
    get("keys.list", Scope::Read, "/v1/keys"),
    get("keys.get", Scope::Read, "/v1/keys/{name}"),
    post("keys.verify", Scope::Read, "/v1/keys/{name}/verify"),
    post("tokens.verify", Scope::Read, "/v1/tokens/verify"),
    get("health.get", Scope::Read, "/health"),
    get("cluster.get", Scope::Read, "/v1/cluster"),
    post("keys.sign", Scope::Write, "/v1/keys/{name}/sign"),
    post("keys.encrypt", Scope::Write, "/v1/keys/{name}/encrypt"),
    post("keys.decrypt", Scope::Write, "/v1/keys/{name}/decrypt"),
    post("tokens.issue", Scope::Write, "/v1/tokens"),
    post("keys.rotate", Scope::Admin, "/v1/keys/{name}/rotate"),
    post("tokens.revoke", Scope::Admin, "/v1/tokens/revoke"),
    get("audit.tail", Scope::Admin, "/v1/audit"),
];

impl Method {
    /// Looks a method up.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// A session of this role with these scopes may call it.
    #[must_use]
    pub fn is_open_to(&self, role: Role, scopes: Scopes) -> bool {
        let is_of_role = self.scope.role() == role;
        is_of_role && scopes.covers(self.scope)
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
        assert!(write.contains(&"tokens.issue") && write.contains(&"keys.list") && !write.contains(&"audit.tail"));
        let admin = open("operator.admin");
        assert!(admin.contains(&"keys.rotate") && admin.contains(&"keys.sign") && admin.contains(&"audit.tail"));
        assert_eq!(Method::open_to(Role::Operator, Scopes::default()).count(), 0);
        // A scope of the other role counts for nothing.
        assert_eq!(Method::open_to(Role::Node, Scopes::named(["operator.admin"])).count(), 0);
    }
}
