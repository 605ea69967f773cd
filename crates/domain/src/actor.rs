//! Who is acting, and the proof that an act was authorised.

use crate::id::{AccessTokenId, NodeId, OrganizationId, SessionId, UserId, WorkspaceId};
use crate::rbac::{self, Grant, Permission, Scope};

/// A background job that acts for the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobName {
    /// The first start of a data dir.
    Bootstrap,
    /// `headgate admin reset` and its like, run by the operator on the machine.
    Operator,
    /// The node link: enrolment, renewal, status.
    NodeSync,
    /// Booking usage.
    Ingest,
    /// Sealing audit checkpoints.
    AuditSeal,
    /// Copying newly released catalog prices into price books.
    PriceBook,
    /// Deleting what has passed its retention.
    Retention,
}

impl JobName {
    /// Returns the stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Operator => "operator",
            Self::NodeSync => "node_sync",
            Self::Ingest => "ingest",
            Self::AuditSeal => "audit_seal",
            Self::PriceBook => "price_book",
            Self::Retention => "retention",
        }
    }
}

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// A person in a browser session.
    Session(UserId, SessionId),
    /// A person's access token.
    AccessToken(UserId, AccessTokenId),
    /// A gateway node.
    Node(NodeId),
    /// The system itself.
    System(JobName),
    /// Whoever shows a secret of ours that they found; may have it revoked, and nothing else.
    Finder,
    /// Nobody: a request without valid proof.
    Anonymous,
}

impl ActorKind {
    /// Returns `(kind, id)` as the audit log writes them.
    #[must_use]
    pub fn describe(&self) -> (&'static str, String) {
        match self {
            Self::Session(user, _) => ("user", user.to_string()),
            Self::AccessToken(_, token) => ("access_token", token.to_string()),
            Self::Node(node) => ("node", node.to_string()),
            Self::System(job) => ("system", job.as_str().to_owned()),
            Self::Finder => ("finder", String::new()),
            Self::Anonymous => ("anonymous", String::new()),
        }
    }

    /// Returns the person behind a session or an access token.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        match self {
            Self::Session(user, _) | Self::AccessToken(user, _) => Some(*user),
            _ => None,
        }
    }
}

/// Somebody with their grants, as they stand at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// How they proved who they are.
    pub kind: ActorKind,
    /// What they may do, over all organizations.
    pub grants: Vec<Grant>,
    /// When set, the proof is narrowed to one organization (an access token belongs to one).
    pub organization: Option<OrganizationId>,
}

/// Why an act was not permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The actor may not even know that the thing exists; answer 404.
    #[error("not visible")]
    Invisible,
    /// The actor sees the thing but may not do this; answer 403.
    #[error("missing permission {0}")]
    Forbidden(Permission),
}

/// Proof that `actor` was allowed `permission` at `scope`. Only [`Actor::permit`] and the three named
/// exceptions below make one: a job of the system, what is one's own, a secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    actor: ActorKind,
    permission: Option<Permission>,
    scope: Scope,
}

impl Actor {
    /// Nobody.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self { kind: ActorKind::Anonymous, grants: Vec::new(), organization: None }
    }

    /// Says whether `permission` is granted at `scope`.
    #[must_use]
    pub fn may(&self, permission: Permission, scope: Scope) -> bool {
        self.organization.is_none_or(|organization| organization == scope.organization())
            && rbac::allows(&self.grants, permission, scope)
    }

    /// Says whether the actor may know that a thing at `scope` exists.
    #[must_use]
    pub fn sees(&self, scope: Scope) -> bool {
        match scope {
            Scope::Organization(_) => self.may(Permission::OrganizationRead, scope),
            Scope::Workspace(..) => self.may(Permission::WorkspaceRead, scope),
        }
    }

    /// Lists the workspaces of an organization that the actor sees; `None` when it sees all of them.
    #[must_use]
    pub fn visible_workspaces(&self, organization: OrganizationId) -> Option<Vec<WorkspaceId>> {
        if self.may(Permission::WorkspaceRead, Scope::Organization(organization)) {
            return None;
        }
        let here = self.grants.iter().map(|grant| grant.scope).filter(|scope| scope.organization() == organization);
        let mut seen: Vec<_> = here.filter(|scope| self.sees(*scope)).filter_map(Scope::workspace).collect();
        seen.sort_unstable();
        seen.dedup();
        Some(seen)
    }

    /// Proves the right to act, or says how to refuse.
    pub fn permit(&self, permission: Permission, scope: Scope) -> Result<Permit, Denied> {
        if self.may(permission, scope) {
            return Ok(Permit { actor: self.kind, permission: Some(permission), scope });
        }
        Err(if self.sees(scope) { Denied::Forbidden(permission) } else { Denied::Invisible })
    }

    /// Lists the organizations in which the actor holds any grant, without duplicates, in id order.
    #[must_use]
    pub fn organizations(&self) -> Vec<OrganizationId> {
        let mut found: Vec<_> = self
            .grants
            .iter()
            .map(|grant| grant.scope.organization())
            .filter(|id| self.organization.is_none_or(|only| only == *id))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Permit {
    /// Lets a system job act. Every use is a named job, so that the audit log can say which.
    #[must_use]
    pub const fn system(job: JobName, scope: Scope) -> Self {
        Self { actor: ActorKind::System(job), permission: None, scope }
    }

    /// Lets a person act on what is their own (their sessions, their password); no role is needed for that.
    #[must_use]
    pub fn own(actor: &Actor, organization: OrganizationId) -> Option<Self> {
        actor.kind.user().map(|_| Self {
            actor: actor.kind,
            permission: None,
            scope: Scope::Organization(organization),
        })
    }

    /// Lets whoever has shown a live secret itself end it. The caller has compared it with what is stored.
    #[must_use]
    pub const fn finder(organization: OrganizationId) -> Self {
        Self { actor: ActorKind::Finder, permission: None, scope: Scope::Organization(organization) }
    }

    /// Returns who acts.
    #[must_use]
    pub const fn actor(&self) -> ActorKind {
        self.actor
    }

    /// Returns the permission that was proved; `None` for system jobs, finders and what is one's own.
    #[must_use]
    pub const fn permission(&self) -> Option<Permission> {
        self.permission
    }

    /// Returns where it was proved.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Returns the organization in which it was proved.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.scope.organization()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WorkspaceId;
    use crate::rbac::Role;

    fn viewer() -> (Actor, Scope) {
        let organization = OrganizationId::from_uuid(1);
        let scope = Scope::Workspace(organization, WorkspaceId::from_uuid(2));
        let kind = ActorKind::Session(UserId::from_uuid(3), SessionId::from_uuid(4));
        (Actor { kind, grants: vec![Grant { role: Role::Viewer, scope }], organization: None }, scope)
    }

    #[test]
    fn unseen_is_told_apart_from_forbidden() {
        let (actor, scope) = viewer();
        let foreign = Scope::Organization(OrganizationId::from_uuid(9));
        assert!(actor.permit(Permission::VirtualKeysRead, scope).is_ok());
        assert_eq!(
            actor.permit(Permission::VirtualKeysCreate, scope),
            Err(Denied::Forbidden(Permission::VirtualKeysCreate))
        );
        assert_eq!(actor.permit(Permission::OrganizationRead, foreign), Err(Denied::Invisible));
        assert_eq!(Actor::anonymous().permit(Permission::WorkspaceRead, scope), Err(Denied::Invisible));
    }

    #[test]
    fn a_narrowed_proof_does_not_reach_another_organization() {
        let (mut actor, scope) = viewer();
        actor.organization = Some(OrganizationId::from_uuid(9));
        assert_eq!(actor.permit(Permission::VirtualKeysRead, scope), Err(Denied::Invisible));
        assert!(actor.organizations().is_empty());
    }
}
