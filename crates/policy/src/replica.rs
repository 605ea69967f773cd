//! What one node holds: the verified sets of its organizations and the snapshot compiled from them. Sans-IO.
//!
//! Frames go in, an [`Applied`] or a [`Refused`] comes out; nothing changes on refusal. The order of checks is: scope, signature,
//! revision, content, resulting hash; only then the compiled snapshot moves. Invariant: the snapshot is always compiled from
//! sets whose hash equals a revision that the control plane signed and that never went back, and from what it signed as urgent
//! ahead of the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::node::Holds;
use domain::{OrganizationId, Timestamp};
use proto::v1;

use crate::compile::{BadResource, Input, SecretOpener, bad_of, compile, forget};
use crate::resource::{Kind, Resource};
use crate::set::{Location, MAX_RESOURCES, ResourceSet, SetError};
use crate::sign::{NodeScope, Refusal, Revision, Signed, Verifier, admit};
use crate::snapshot::Snapshot;
use crate::wire::{WireError, frame};

/// A revision is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The tenant.
    pub organization: OrganizationId,
    /// The revision in force.
    pub revision: u64,
    /// What of the organization does not compile; everything else is in force.
    pub bad: Vec<BadResource>,
    /// Whether anything differs from before.
    pub is_changed: bool,
}

/// A frame was refused; nothing of it applies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("revision {revision} of {organization} refused: {refusal}{detail}")]
pub struct Refused {
    /// The tenant as the frame names it, readable or not.
    pub organization: String,
    /// The revision as the frame names it.
    pub revision: u64,
    /// Why.
    pub refusal: Refusal,
    /// What exactly, for people; begins with a separator or is empty.
    pub detail: String,
}

/// One organization as it is written to and read from the sealed copy.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The signed revision.
    pub revision: Signed<Revision>,
    /// The resources.
    pub set: ResourceSet,
    /// Last good versions of those that did not compile.
    pub last_good: Vec<Resource>,
    /// When the control plane last confirmed it.
    pub confirmed_at: Timestamp,
}

struct Held {
    revision: Signed<Revision>,
    set: ResourceSet,
    /// The set with what came ahead of its delta: what the snapshot is compiled from.
    in_use: ResourceSet,
    /// What came ahead, with the revision that will contain it.
    ahead: BTreeMap<Location, (u64, Ahead)>,
}

#[derive(Clone)]
enum Ahead {
    /// Must not be used.
    Revoked,
    /// Counts instead of what is held.
    Changed(Resource),
}

impl Held {
    /// Puts what came ahead over a set.
    fn overlay(set: &ResourceSet, ahead: &BTreeMap<Location, (u64, Ahead)>) -> Result<ResourceSet, SetError> {
        let changed = ahead.values().filter_map(|(_, ahead)| match ahead {
            Ahead::Changed(resource) => Some(resource.clone()),
            Ahead::Revoked => None,
        });
        let (mut in_use, changed) = (set.clone(), changed.collect::<Vec<_>>());
        if !changed.is_empty() {
            in_use.apply(changed, &[])?;
        }
        Ok(in_use)
    }
}

struct Incoming {
    revision: Signed<Revision>,
    chunk_count: u32,
    next_chunk: u32,
    resources: Vec<Resource>,
}

/// See the module.
pub struct Replica {
    verifier: Arc<dyn Verifier>,
    scope: Option<Signed<NodeScope>>,
    held: BTreeMap<OrganizationId, Held>,
    incoming: BTreeMap<OrganizationId, Incoming>,
    snapshot: Snapshot,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("organizations", &self.held.len()).finish_non_exhaustive()
    }
}

/// What a frame names, for the refusal.
struct Subject {
    organization: String,
    revision: u64,
}

impl Subject {
    fn refuse(&self, refusal: Refusal) -> Refused {
        Refused { organization: self.organization.clone(), revision: self.revision, refusal, detail: String::new() }
    }

    fn unreadable(&self, error: WireError) -> Refused {
        Refused { detail: format!(": {error}"), ..self.refuse(Refusal::Sequence) }
    }

    fn set(&self, error: &SetError) -> Refused {
        let refusal = match error {
            SetError::ForeignOrganization { .. } | SetError::MisplacedWorkspace { .. } => Refusal::Scope,
            SetError::ContentTooLarge { .. } | SetError::TooManyResources => Refusal::Size,
            SetError::Duplicate { .. } => Refusal::Sequence,
        };
        Refused { detail: format!(": {error}"), ..self.refuse(refusal) }
    }
}

fn subject(target: Option<&v1::SignedRevision>) -> Subject {
    target.map_or(Subject { organization: String::new(), revision: 0 }, |it| Subject {
        organization: it.organization_id.clone(),
        revision: it.revision,
    })
}

impl Replica {
    /// Starts with nothing. Until a scope is set, every organization is refused.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verifier>) -> Self {
        Self { verifier, scope: None, held: BTreeMap::new(), incoming: BTreeMap::new(), snapshot: Snapshot::default() }
    }

    /// Replaces the keys that signatures are checked against.
    pub fn set_verifier(&mut self, verifier: Arc<dyn Verifier>) {
        self.verifier = verifier;
    }

    /// Returns the compiled policy.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the scope in force, as signed.
    #[must_use]
    pub const fn scope(&self) -> Option<&Signed<NodeScope>> {
        self.scope.as_ref()
    }

    /// Says whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Lists the organizations held, with their signed revision.
    pub fn revisions(&self) -> impl Iterator<Item = &Signed<Revision>> {
        self.held.values().map(|held| &held.revision)
    }

    /// Returns what goes into the sealed copy of one organization.
    #[must_use]
    pub fn copy(&self, organization: OrganizationId) -> Option<Copy> {
        let held = self.held.get(&organization)?;
        let policy = self.snapshot.organization(organization)?;
        let last_good = policy.bad.iter().filter_map(|(location, bad)| {
            Some(Resource {
                key: location.key,
                organization,
                workspace: location.workspace,
                content: bad.last_good.clone()?,
            })
        });
        Some(Copy {
            revision: held.revision.clone(),
            set: held.set.clone(),
            last_good: last_good.collect(),
            confirmed_at: policy.freshness.confirmed_at(),
        })
    }

    /// Takes a signed scope; drops and returns what lies outside of it. An older scope than the one in force is refused.
    pub fn set_scope(
        &mut self,
        scope: Signed<NodeScope>,
        opener: &dyn SecretOpener,
    ) -> Result<Vec<OrganizationId>, Refusal> {
        let statement = scope.verify(&*self.verifier)?;
        if let Some(held) = &self.scope
            && (held.statement.group != statement.group || held.statement.issued_at > statement.issued_at)
        {
            return Err(Refusal::Scope);
        }
        let outside: Vec<_> = self.held.keys().copied().filter(|id| !statement.holds.includes(*id)).collect();
        for organization in &outside {
            self.forget(*organization, opener);
        }
        self.scope = Some(scope);
        Ok(outside)
    }

    fn is_in_scope(&self, organization: OrganizationId) -> bool {
        self.scope.as_ref().is_some_and(|scope| match &scope.statement.holds {
            Holds::All => true,
            only @ Holds::Only(_) => only.includes(organization),
        })
    }

    /// Drops an organization.
    pub fn forget(&mut self, organization: OrganizationId, opener: &dyn SecretOpener) {
        self.incoming.remove(&organization);
        if let Some(held) = self.held.remove(&organization) {
            self.snapshot = forget(&self.snapshot, &held.in_use, opener);
        }
    }

    /// Everything that must hold before a revision's content is looked at.
    fn admit(&self, subject: &Subject, revision: &Signed<Revision>) -> Result<(), Refused> {
        let statement = &revision.statement;
        if !self.is_in_scope(statement.organization) {
            return Err(subject.refuse(Refusal::Scope));
        }
        revision.verify(&*self.verifier).map_err(|refusal| subject.refuse(refusal))?;
        if statement.resource_count > MAX_RESOURCES {
            return Err(subject.refuse(Refusal::Size));
        }
        let held = self.held.get(&statement.organization).map(|held| &held.revision.statement);
        admit(held, statement).map_err(|refusal| subject.refuse(refusal))
    }

    /// Applies a delta.
    pub fn delta(&mut self, delta: v1::Delta, opener: &dyn SecretOpener) -> Result<Applied, Refused> {
        let subject = subject(delta.target.as_ref());
        let revision = frame::revision(delta.target).map_err(|error| subject.unreadable(error))?;
        self.admit(&subject, &revision)?;
        let organization = revision.statement.organization;
        let (held, before) = match self.held.get(&organization) {
            Some(held) => (held.revision.statement.number, held.set.clone()),
            None => (0, ResourceSet::empty(organization)),
        };
        if delta.from_revision != held {
            return Err(subject.refuse(Refusal::Revision { held, offered: delta.from_revision }));
        }
        let upserts = delta.upserts.into_iter().map(frame::resource).collect::<Result<Vec<_>, _>>();
        let upserts = upserts.map_err(|error| subject.unreadable(error))?;
        let removals = delta.removals.iter().map(frame::removal).collect::<Result<Vec<_>, _>>();
        let removals = removals.map_err(|error| subject.unreadable(error))?;
        let touched: Vec<_> = upserts.iter().map(Resource::location).chain(removals.iter().copied()).collect();
        let mut after = before.clone();
        after.apply(upserts, &removals).map_err(|error| subject.set(&error))?;
        self.take(&subject, revision, &before, after, touched, opener)
    }

    /// Begins a full set; drops an unfinished one of the same organization.
    pub fn begin(&mut self, begin: v1::FullSetBegin) -> Result<(), Refused> {
        let subject = subject(begin.target.as_ref());
        let revision = frame::revision(begin.target).map_err(|error| subject.unreadable(error))?;
        self.admit(&subject, &revision)?;
        let organization = revision.statement.organization;
        let incoming = Incoming { revision, chunk_count: begin.chunk_count, next_chunk: 0, resources: Vec::new() };
        self.incoming.insert(organization, incoming);
        Ok(())
    }

    /// Takes the next chunk of a full set.
    pub fn chunk(&mut self, chunk: v1::FullSetChunk) -> Result<(), Refused> {
        let subject = Subject { organization: chunk.organization_id, revision: 0 };
        let organization: OrganizationId =
            subject.organization.parse().map_err(|_| subject.refuse(Refusal::Sequence))?;
        let Some(incoming) = self.incoming.get_mut(&organization) else {
            return Err(subject.refuse(Refusal::Sequence));
        };
        let subject = Subject { revision: incoming.revision.statement.number, ..subject };
        let announced = incoming.revision.statement.resource_count;
        let fits = (incoming.resources.len() + chunk.resources.len()) as u64 <= announced;
        if chunk.index != incoming.next_chunk || chunk.index >= incoming.chunk_count || !fits {
            self.incoming.remove(&organization);
            return Err(subject.refuse(Refusal::Sequence));
        }
        incoming.next_chunk += 1;
        for resource in chunk.resources {
            match frame::resource(resource) {
                Ok(resource) => incoming.resources.push(resource),
                Err(error) => {
                    self.incoming.remove(&organization);
                    return Err(subject.unreadable(error));
                }
            }
        }
        Ok(())
    }

    /// Ends a full set and applies it.
    pub fn end(&mut self, end: v1::FullSetEnd, opener: &dyn SecretOpener) -> Result<Applied, Refused> {
        let subject = Subject { organization: end.organization_id, revision: end.revision };
        let organization: OrganizationId =
            subject.organization.parse().map_err(|_| subject.refuse(Refusal::Sequence))?;
        let incoming = self.incoming.remove(&organization);
        let Some(Incoming { revision, chunk_count, next_chunk, resources }) = incoming else {
            return Err(subject.refuse(Refusal::Sequence));
        };
        if next_chunk != chunk_count || revision.statement.number != end.revision {
            return Err(subject.refuse(Refusal::Sequence));
        }
        // Again at apply time, not only when it began: another revision may have come between.
        self.admit(&subject, &revision)?;
        let after = ResourceSet::from_resources(organization, resources).map_err(|error| subject.set(&error))?;
        self.replace(&subject, revision, after, opener)
    }

    fn replace(
        &mut self,
        subject: &Subject,
        revision: Signed<Revision>,
        after: ResourceSet,
        opener: &dyn SecretOpener,
    ) -> Result<Applied, Refused> {
        let organization = revision.statement.organization;
        let before =
            self.held.get(&organization).map_or_else(|| ResourceSet::empty(organization), |held| held.set.clone());
        let (upserts, removals) = before.difference(&after);
        let touched = upserts.iter().map(Resource::location).chain(removals).collect();
        self.take(subject, revision, &before, after, touched, opener)
    }

    /// Checks the resulting state, compiles and moves.
    fn take(
        &mut self,
        subject: &Subject,
        revision: Signed<Revision>,
        before: &ResourceSet,
        after: ResourceSet,
        mut touched: Vec<Location>,
        opener: &dyn SecretOpener,
    ) -> Result<Applied, Refused> {
        let statement = revision.statement;
        if after.hash() != statement.set_hash || after.len() != statement.resource_count {
            return Err(subject.refuse(Refusal::SetHash));
        }
        let (mut ahead, in_use_before) = self
            .held
            .get(&statement.organization)
            .map_or_else(|| (BTreeMap::new(), before.clone()), |held| (held.ahead.clone(), held.in_use.clone()));
        touched.extend(
            ahead.iter().filter(|(_, (revision, _))| *revision <= statement.number).map(|(location, _)| *location),
        );
        ahead.retain(|_, (revision, _)| *revision > statement.number);
        let in_use = Held::overlay(&after, &ahead).map_err(|error| subject.set(&error))?;
        let is_changed = !touched.is_empty() || before.hash() != after.hash();
        self.held.insert(statement.organization, Held { revision, set: after, in_use, ahead });
        self.recompile(statement.organization, &in_use_before, &touched, opener);
        Ok(self.applied(statement.organization, is_changed))
    }

    fn applied(&self, organization: OrganizationId, is_changed: bool) -> Applied {
        let revision = self.held.get(&organization).map_or(0, |held| held.revision.statement.number);
        Applied { organization, revision, bad: bad_of(&self.snapshot, organization), is_changed }
    }

    /// Takes word that what is held is current.
    pub fn confirm(&mut self, confirm: v1::Confirm) -> Result<Applied, Refused> {
        let subject = subject(confirm.held.as_ref());
        let revision = frame::revision(confirm.held).map_err(|error| subject.unreadable(error))?;
        self.admit(&subject, &revision)?;
        let organization = revision.statement.organization;
        let Some(held) = self.held.get_mut(&organization) else { return Err(subject.refuse(Refusal::Sequence)) };
        if held.set.hash() != revision.statement.set_hash || held.revision.statement.number != revision.statement.number
        {
            return Err(subject.refuse(Refusal::SetHash));
        }
        held.revision = revision;
        Ok(self.applied(organization, false))
    }

    /// Takes out of use what a delta on its way takes out of use. What the held revision already contains is ignored.
    pub fn urgent(&mut self, urgent: v1::Urgent, opener: &dyn SecretOpener) -> Result<Applied, Refused> {
        let subject = Subject { organization: urgent.organization_id.clone(), revision: urgent.revision };
        let urgent = frame::urgent(urgent).map_err(|error| subject.unreadable(error))?;
        let statement = urgent.verify(&*self.verifier).map_err(|refusal| subject.refuse(refusal))?;
        let organization = statement.organization;
        if !self.is_in_scope(organization) {
            return Err(subject.refuse(Refusal::Scope));
        }
        let Some(held) = self.held.get_mut(&organization) else { return Err(subject.refuse(Refusal::Sequence)) };
        if statement.revision <= held.revision.statement.number {
            return Ok(self.applied(organization, false));
        }
        let changed = statement.changed.iter().map(|it| (it.location(), Ahead::Changed(it.clone())));
        let mut ahead = held.ahead.clone();
        let mut touched = Vec::new();
        for (location, what) in changed.chain(statement.revoked.iter().map(|location| (*location, Ahead::Revoked))) {
            // What came later stays, in whatever order they arrive.
            if ahead.get(&location).is_none_or(|(revision, _)| *revision <= statement.revision) {
                ahead.insert(location, (statement.revision, what));
                touched.push(location);
            }
        }
        let in_use = Held::overlay(&held.set, &ahead).map_err(|error| subject.set(&error))?;
        let before = std::mem::replace(&mut held.in_use, in_use);
        held.ahead = ahead;
        self.recompile(organization, &before, &touched, opener);
        Ok(self.applied(organization, true))
    }

    /// Opens secrets again after a new data key arrived.
    pub fn regrant(&mut self, organization: OrganizationId, opener: &dyn SecretOpener) -> Option<Applied> {
        let held = self.held.get(&organization)?;
        let sealed = [Kind::Organization, Kind::Credential];
        let touched = sealed.iter().flat_map(|kind| held.set.list(None, *kind..=*kind));
        let touched: Vec<_> = touched.map(|(key, _)| Location { workspace: None, key }).collect();
        let before = held.in_use.clone();
        self.recompile(organization, &before, &touched, opener);
        Some(self.applied(organization, true))
    }

    /// Compiles what is held; `before` is what the snapshot was compiled from.
    fn recompile(
        &mut self,
        organization: OrganizationId,
        before: &ResourceSet,
        touched: &[Location],
        opener: &dyn SecretOpener,
    ) {
        let Some(held) = self.held.get(&organization) else { return };
        let denied: BTreeSet<_> = held
            .ahead
            .iter()
            .filter(|(_, (_, it))| matches!(it, Ahead::Revoked))
            .map(|(location, _)| *location)
            .collect();
        self.snapshot = compile(Input {
            previous: &self.snapshot,
            before,
            after: &held.in_use,
            revision: held.revision.statement.number,
            set_hash: held.set.hash(),
            touched,
            denied: &denied,
            opener,
        });
    }

    /// Takes an organization from the sealed copy; checked like one from the wire.
    pub fn load(&mut self, copy: Copy, opener: &dyn SecretOpener) -> Result<Applied, Refused> {
        let Copy { revision, set, last_good, confirmed_at } = copy;
        let statement = revision.statement;
        let subject = Subject { organization: statement.organization.to_string(), revision: statement.number };
        self.admit(&subject, &revision)?;
        if set.hash() != statement.set_hash {
            return Err(subject.refuse(Refusal::SetHash));
        }
        if !last_good.is_empty() {
            // Compile what was in force first, so that what cannot be read falls back to it again.
            let mut in_force = set.clone();
            in_force.apply(last_good, &[]).map_err(|error| subject.set(&error))?;
            let touched: Vec<_> = in_force.iter().map(|resource| resource.location()).collect();
            let before = ResourceSet::empty(statement.organization);
            let denied = BTreeSet::new();
            let number = statement.number;
            let previous = &self.snapshot;
            let input = Input {
                previous,
                before: &before,
                after: &in_force,
                revision: number,
                set_hash: in_force.hash(),
                touched: &touched,
                denied: &denied,
                opener,
            };
            self.snapshot = compile(input);
            let (in_use, ahead) = (in_force.clone(), BTreeMap::new());
            let held = Held { revision: revision.clone(), set: in_force, in_use, ahead };
            self.held.insert(statement.organization, held);
        }
        let applied = self.replace(&subject, revision, set, opener)?;
        self.confirm_at(statement.organization, confirmed_at);
        Ok(applied)
    }

    /// Records that what is held of an organization was current at `at`.
    pub fn confirm_at(&self, organization: OrganizationId, at: Timestamp) {
        if let Some(policy) = self.snapshot.organization(organization) {
            policy.freshness.confirm(at);
        }
    }

    /// Returns what is held, for `Hello` and status.
    #[must_use]
    pub fn held(&self, data_keys: &dyn Fn(OrganizationId) -> Vec<u32>) -> Vec<v1::Held> {
        let describe = |(organization, held): (&OrganizationId, &Held)| v1::Held {
            organization_id: organization.to_string(),
            revision: held.revision.statement.number,
            set_hash: held.set.hash().0.to_vec().into(),
            resource_count: held.set.len(),
            data_key_versions: data_keys(*organization),
        };
        self.held.iter().map(describe).collect()
    }
}

#[cfg(test)]
mod tests;
