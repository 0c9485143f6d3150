//! Decisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Effect, Entities, EntityTypeName, EntityUid, Policy,
    PolicySet, PrincipalConstraint, Request,
};

use crate::{
    PolicyDocument, PrincipalRef, ResourceRef,
    document::asks_who,
    permission::{Permission, Permissions, Target},
    schema::{Fixed, fixed},
};

/// All policies in force, indexed by whom and what they are about.
///
/// Evaluating every policy for every decision is linear in their number (1.3 ms for two thousand); of those, a principal has to
/// do with few.
pub struct Engine {
    statements: Vec<Statement>,
    /// Statements about any principal.
    any: Vec<usize>,
    /// Statements about one principal or one role.
    named: HashMap<EntityUid, Vec<usize>>,
    /// Every statement, for decisions that most of them take part in.
    whole: PolicySet,
    /// A policy that may forbid is damaged or missing.
    damaged: bool,
}

struct Statement {
    policy: Policy,
    /// About principals of this type only.
    kind: Option<EntityTypeName>,
    permissions: Permissions,
    /// It tells one holder of a role from another: by identity or by a condition on the principal.
    individual: bool,
}

impl Engine {
    /// An engine over the shipped policies and these.
    ///
    /// `damaged` says that a policy which may take rights away is missing: then only administrators are let in, since nobody can
    /// tell what it forbade.
    #[must_use]
    pub fn new<'a>(documents: impl IntoIterator<Item = &'a PolicyDocument>, damaged: bool) -> Self {
        let mut engine = Self {
            statements: Vec::new(),
            any: Vec::new(),
            named: HashMap::new(),
            whole: PolicySet::new(),
            damaged,
        };
        let Some(fixed) = fixed() else { return engine };
        for policy in fixed.roles.policies() {
            engine.add(fixed, policy, asks_who(policy));
        }
        for statement in documents.into_iter().flat_map(|document| &document.statements) {
            engine.add(fixed, &statement.policy, statement.asks_who);
        }
        engine
    }

    fn add(&mut self, fixed: &Fixed, policy: &Policy, asks_who: bool) {
        let index = self.statements.len();
        let (named, kind) = match policy.principal_constraint() {
            PrincipalConstraint::Any => (None, None),
            PrincipalConstraint::Is(kind) => (None, Some(kind)),
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) => (Some(uid), None),
            PrincipalConstraint::IsIn(kind, uid) => (Some(uid), Some(kind)),
        };
        let individual = asks_who || named.as_ref().is_some_and(|uid| *uid.type_name() != fixed.types.role);
        match named {
            Some(uid) => self.named.entry(uid).or_default().push(index),
            None => self.any.push(index),
        }
        let permissions = match policy.action_constraint() {
            ActionConstraint::Any => Permissions::ALL,
            ActionConstraint::Eq(action) => members(fixed, &[action]),
            ActionConstraint::In(actions) => members(fixed, &actions),
        };
        if self.whole.add(policy.clone()).is_err() {
            // Two statements under one id: names are unique, so this can't be; if it is, nobody may rely on either.
            tracing::error!("two policies carry one id");
            self.damaged = true;
        }
        self.statements.push(Statement { policy: policy.clone(), kind, permissions, individual });
    }

    /// The principal may do this to the resource.
    #[must_use]
    pub fn permits(
        &self,
        principal: &PrincipalRef<'_>,
        permission: Permission,
        resource: &ResourceRef<'_>,
    ) -> bool {
        if permission.target() != target(resource) {
            return false;
        }
        if principal.is_admin() && (self.damaged || permission.target() == Target::Policy) {
            // Whoever writes policies can't lock everybody out of mending them.
            return true;
        }
        !self.damaged && self.decide(principal, permission, resource).unwrap_or(false)
    }

    /// There may be a resource to which the principal may do this. `false` is certain.
    #[must_use]
    pub fn might(&self, principal: &PrincipalRef<'_>, permission: Permission) -> bool {
        let Some(fixed) = fixed() else { return false };
        principal.is_admin()
            || !self.damaged
                && self.about(fixed, principal).any(|(_, statement)| {
                    statement.permissions.contains(permission) && statement.policy.effect() == Effect::Permit
                })
    }

    /// A policy gives this principal something that others with its roles do not have.
    #[must_use]
    pub fn favours(&self, principal: &PrincipalRef<'_>) -> bool {
        self.singles_out(principal, Effect::Permit)
    }

    /// A policy takes something from this principal that others with its roles keep.
    #[must_use]
    pub fn restrains(&self, principal: &PrincipalRef<'_>) -> bool {
        self.singles_out(principal, Effect::Forbid)
    }

    /// Whatever is forbidden to the one is forbidden to the other in the same words.
    #[must_use]
    pub fn restrains_as_much(&self, one: &PrincipalRef<'_>, other: &PrincipalRef<'_>) -> bool {
        self.says_as_much(one, other, Effect::Forbid)
    }

    /// Whatever is permitted to the one is permitted to the other in the same words.
    #[must_use]
    pub fn permits_as_much(&self, one: &PrincipalRef<'_>, other: &PrincipalRef<'_>) -> bool {
        self.says_as_much(one, other, Effect::Permit)
    }

    fn says_as_much(&self, one: &PrincipalRef<'_>, other: &PrincipalRef<'_>, effect: Effect) -> bool {
        let Some(fixed) = fixed() else { return false };
        let said = |principal| -> BTreeSet<usize> {
            self.about(fixed, principal)
                .filter(|(_, statement)| statement.policy.effect() == effect)
                .map(|(index, _)| index)
                .collect()
        };
        said(one).is_subset(&said(other))
    }

    fn singles_out(&self, principal: &PrincipalRef<'_>, effect: Effect) -> bool {
        let Some(fixed) = fixed() else { return true };
        self.about(fixed, principal)
            .any(|(_, statement)| statement.individual && statement.policy.effect() == effect)
    }

    fn decide(
        &self,
        principal: &PrincipalRef<'_>,
        permission: Permission,
        resource: &ResourceRef<'_>,
    ) -> Option<bool> {
        let fixed = fixed()?;
        // A role given twice counts once.
        let policies: BTreeMap<usize, &Policy> = self
            .about(fixed, principal)
            .filter(|(_, statement)| statement.permissions.contains(permission))
            .map(|(index, statement)| (index, &statement.policy))
            .collect();
        if !policies.values().any(|policy| policy.effect() == Effect::Permit) {
            return Some(false);
        }
        let action = fixed.uids.get(permission.index())?.clone();
        let (subject, object) = (principal.entity(&fixed.types)?, resource.entity(fixed)?);
        let (subject_uid, object_uid) = (subject.uid(), object.uid());
        let mut own = vec![subject];
        if subject_uid != object_uid {
            own.push(object);
        }
        let entities: Entities = fixed.actions.clone().add_entities(own, None).ok()?;
        let request = Request::new(subject_uid, action, object_uid, Context::empty(), None).ok()?;
        let few;
        let set = if policies.len() * 2 > self.statements.len() {
            &self.whole
        } else {
            few = PolicySet::from_policies(policies.into_values().cloned()).ok()?;
            &few
        };
        let response = Authorizer::new().is_authorized(&request, set, &entities);
        // Cedar leaves out a policy that fails; were it one that forbids, that would let somebody in.
        if let Some(error) = response.diagnostics().errors().next() {
            tracing::warn!(%error, "a policy failed, so the request is denied");
            return Some(false);
        }
        Some(response.decision() == Decision::Allow)
    }

    /// Statements whose scope fits the principal, each with its index; one may come twice.
    fn about<'a>(
        &'a self,
        fixed: &'a Fixed,
        principal: &'a PrincipalRef<'a>,
    ) -> impl Iterator<Item = (usize, &'a Statement)> {
        let uid = principal.uid(&fixed.types);
        let kind = uid.type_name().clone();
        let named = std::iter::once(uid)
            .chain(principal.role_uids(&fixed.types))
            .filter_map(|uid| self.named.get(&uid))
            .flatten();
        self.any
            .iter()
            .chain(named)
            .filter_map(|index| Some((*index, self.statements.get(*index)?)))
            .filter(move |(_, statement)| statement.kind.as_ref().is_none_or(|wanted| *wanted == kind))
    }
}

fn members(fixed: &Fixed, actions: &[EntityUid]) -> Permissions {
    let mut all = Permissions::default();
    for group in actions {
        if let Some(members) = fixed.members.get(group) {
            all.extend(*members);
        }
    }
    all
}

const fn target(resource: &ResourceRef<'_>) -> Target {
    match resource {
        ResourceRef::Key(_) => Target::Key,
        ResourceRef::ApiKey { .. } => Target::ApiKey,
        ResourceRef::Policy(_) => Target::Policy,
        ResourceRef::Secret { .. } => Target::Secret,
        ResourceRef::AuthToken { .. } => Target::AuthToken,
        ResourceRef::OfflineToken { .. } => Target::OfflineToken,
        ResourceRef::Deployment => Target::Deployment,
    }
}
