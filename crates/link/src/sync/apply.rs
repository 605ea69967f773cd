//! Feeds control messages to the replica, publishes its snapshot, and says what to answer.
//!
//! No IO: the session moves bytes, this module decides. Invariant: the published snapshot is always the replica's, and an
//! acknowledgement is only returned for a revision that is already published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::{Clock, NodeId, OrganizationId, Secret, Timestamp};
use policy::replica::{Applied, Refused};
use policy::sign::Refusal;
use policy::wire::frame;
use policy::{Replica, Snapshot};
use proto::v1;
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::PolicyHandle;
use super::crypto::DataKeys;
use super::identity::Identity;
use super::last_known_good::{Entry, Vault};
use super::status::SyncStatus;

/// The node's policy with everything needed to change it.
pub struct Applier {
    node_id: NodeId,
    hpke_private: Secret<Vec<u8>>,
    clock: Arc<dyn Clock>,
    keys: Arc<DataKeys>,
    replica: Replica,
    grants: BTreeMap<(OrganizationId, u32), v1::KeyGrant>,
    policy: PolicyHandle,
    is_synced: bool,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// What one message led to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What to answer.
    pub(crate) answers: Vec<Up>,
    /// Organizations whose sealed copy must be written again.
    pub(crate) to_save: Vec<OrganizationId>,
    /// Organizations whose sealed copy must go.
    pub(crate) to_drop: Vec<OrganizationId>,
    /// Revisions now in force that were not before.
    pub(crate) applied: u64,
    /// What was refused as a whole.
    pub(crate) refused: Option<Refused>,
}

impl Applier {
    /// Starts with nothing in force.
    #[must_use]
    pub fn new(identity: &Identity, clock: Arc<dyn Clock>) -> Self {
        Self {
            node_id: identity.node_id,
            hpke_private: identity.hpke_private().clone(),
            clock,
            keys: Arc::default(),
            replica: Replica::new(Arc::new(identity.signing_keys.clone())),
            grants: BTreeMap::new(),
            policy: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            is_synced: false,
        }
    }

    /// Returns the handle that requests read.
    #[must_use]
    pub fn policy(&self) -> PolicyHandle {
        Arc::clone(&self.policy)
    }

    /// Returns the data keys that the node was granted.
    pub(super) fn keys(&self) -> Arc<DataKeys> {
        Arc::clone(&self.keys)
    }

    /// Trusts the signing keys of a renewed identity.
    pub(crate) fn trust(&mut self, identity: &Identity) {
        self.replica.set_verifier(Arc::new(identity.signing_keys.clone()));
    }

    fn publish(&self) {
        self.policy.store(Arc::new(self.replica.snapshot().clone()));
    }

    // === The sealed copy ===

    /// Loads every sealed copy that verifies; the others are named in the status and left for the control plane to replace.
    pub(crate) fn load(&mut self, vault: &Vault, status: &SyncStatus) {
        let mut bad = Vec::new();
        for loaded in vault.load() {
            let name = loaded.name;
            match loaded.entry.map_err(|error| error.to_string()).and_then(|entry| self.load_one(entry)) {
                Ok(applied) => {
                    tracing::info!(organization.id = %applied.organization, revision = applied.revision, "policy loaded from the sealed copy");
                }
                Err(reason) => {
                    tracing::error!(copy = %name, reason, "sealed copy refused; waiting for the control plane");
                    bad.push(format!("{name}: {reason}"));
                }
            }
        }
        self.publish();
        let is_from_copy = !self.replica.is_empty();
        status.change(|state| {
            state.is_from_copy = is_from_copy;
            state.bad_copies = bad;
        });
    }

    fn load_one(&mut self, entry: Entry) -> Result<Applied, String> {
        for grant in entry.grants {
            self.grant(grant).map_err(|error| error.to_string())?;
        }
        // Scopes of several copies: the newest wins, an older one is no error here.
        if self.replica.scope().is_none_or(|held| held.statement.issued_at < entry.scope.statement.issued_at) {
            let keys = Arc::clone(&self.keys);
            self.replica.set_scope(entry.scope, &*keys).map_err(|refusal| refusal.to_string())?;
        }
        let keys = Arc::clone(&self.keys);
        self.replica.load(entry.copy, &*keys).map_err(|refused| refused.to_string())
    }

    /// Returns what goes into the sealed copy of an organization; `None` when it is not held.
    pub(crate) fn entry(&self, organization: OrganizationId) -> Option<Entry> {
        let grants = self.grants.range((organization, 0)..=(organization, u32::MAX)).map(|(_, grant)| grant.clone());
        Some(Entry {
            scope: self.replica.scope()?.clone(),
            copy: self.replica.copy(organization)?,
            grants: grants.collect(),
        })
    }

    /// Lists when each organization was last confirmed.
    pub(crate) fn confirmations(&self) -> Vec<(OrganizationId, Timestamp)> {
        let snapshot = self.replica.snapshot();
        snapshot.organizations().map(|organization| (organization.id, organization.freshness.confirmed_at())).collect()
    }

    // === Messages ===

    /// Returns the opening message of a session.
    pub(crate) fn hello(&self, boot_id: &str) -> v1::Hello {
        v1::Hello {
            node_id: self.node_id.to_string(),
            build: crate::BUILD.to_owned(),
            protocol: 1,
            protocol_min: 1,
            kinds: policy::Kind::ALL.map(|kind| frame::kind_message(kind).into()).to_vec(),
            held: self.held(),
            boot_id: boot_id.to_owned(),
        }
    }

    /// Returns what is held, as messages name it.
    pub(crate) fn held(&self) -> Vec<v1::Held> {
        self.replica.held(&|organization| self.keys.versions(organization))
    }

    /// Says why the node must not be called ready; `None` when it is.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        let now = self.clock.now();
        if self.replica.is_empty() && !self.is_synced {
            return Some("no verified policy yet");
        }
        let mut organizations = self.replica.snapshot().organizations().peekable();
        let is_all_stale =
            organizations.peek().is_some() && organizations.all(|organization| organization.is_stale(now));
        is_all_stale.then_some("policy is older than its organizations allow; the control plane has not been heard of")
    }

    /// Takes one message.
    pub(crate) fn take(&mut self, body: Down) -> Outcome {
        let keys = Arc::clone(&self.keys);
        match body {
            Down::Welcome(welcome) => self.welcome(welcome),
            Down::Delta(delta) => {
                let result = self.replica.delta(delta, &*keys);
                self.conclude(result)
            }
            Down::FullSetBegin(begin) => self.progress(|replica| replica.begin(begin)),
            Down::FullSetChunk(chunk) => self.progress(|replica| replica.chunk(chunk)),
            Down::FullSetEnd(end) => {
                let result = self.replica.end(end, &*keys);
                self.conclude(result)
            }
            Down::Confirm(confirm) => {
                let result = self.replica.confirm(confirm);
                self.conclude(result)
            }
            Down::Urgent(urgent) => {
                let result = self.replica.urgent(urgent, &*keys);
                if result.is_ok() {
                    self.publish();
                }
                // The acknowledgement belongs to the delta that follows.
                result.map_or_else(refuse, |_| Outcome::default())
            }
            Down::KeyGrant(grant) => self.granted(grant),
            Down::Forget(forget) => self.forget(&forget),
            Down::Synced(_) => {
                self.is_synced = true;
                self.confirm_all(self.clock.now(), &[]);
                Outcome::default()
            }
            Down::Ping(ping) => {
                if self.is_synced {
                    let now = self.clock.now();
                    self.confirm_all(
                        now.minus(Duration::from_millis(ping.policy_age_ms)),
                        &ping.unread_organization_ids,
                    );
                }
                Outcome { answers: vec![Up::Pong(v1::Pong { nonce: ping.nonce })], ..Outcome::default() }
            }
            Down::Pong(_) | Down::Drain(_) => Outcome::default(),
        }
    }

    /// A new session has not confirmed anything yet.
    pub(crate) fn disconnected(&mut self) {
        self.is_synced = false;
    }

    fn confirm_all(&self, at: Timestamp, but: &[String]) {
        for organization in self.replica.snapshot().organizations() {
            if !but.is_empty() && but.contains(&organization.id.to_string()) {
                continue;
            }
            // Never backwards, unless the clock was wrong before.
            let held = organization.freshness.confirmed_at();
            if at > held || held > self.clock.now() {
                organization.freshness.confirm(at);
            }
        }
    }

    fn welcome(&mut self, welcome: v1::Welcome) -> Outcome {
        let keys = Arc::clone(&self.keys);
        let scope = match frame::scope(welcome.scope) {
            Ok(scope) => scope,
            Err(error) => return refuse(refusal("", Refusal::Sequence, format!(": {error}"))),
        };
        match self.replica.set_scope(scope, &*keys) {
            Ok(dropped) => {
                self.publish();
                for organization in &dropped {
                    self.drop_keys(*organization);
                }
                Outcome { to_drop: dropped, ..Outcome::default() }
            }
            Err(reason) => refuse(refusal("", reason, ": scope".to_owned())),
        }
    }

    fn grant(&mut self, grant: v1::KeyGrant) -> Result<OrganizationId, super::crypto::CryptoError> {
        let organization = self.keys.take(&grant, self.node_id, &self.hpke_private)?;
        self.grants.insert((organization, grant.data_key_version), grant);
        Ok(organization)
    }

    fn granted(&mut self, grant: v1::KeyGrant) -> Outcome {
        let named = grant.organization_id.clone();
        match self.grant(grant) {
            Ok(organization) => {
                let keys = Arc::clone(&self.keys);
                let Some(applied) = self.replica.regrant(organization, &*keys) else { return Outcome::default() };
                self.publish();
                Outcome { answers: vec![answer(&applied)], to_save: vec![organization], ..Outcome::default() }
            }
            Err(error) => refuse(refusal(&named, Refusal::Signature, format!(": {error}"))),
        }
    }

    fn forget(&mut self, forget: &v1::Forget) -> Outcome {
        let Ok(organization) = forget.organization_id.parse() else {
            return refuse(refusal(&forget.organization_id, Refusal::Sequence, String::new()));
        };
        let keys = Arc::clone(&self.keys);
        self.replica.forget(organization, &*keys);
        self.drop_keys(organization);
        self.publish();
        Outcome { to_drop: vec![organization], ..Outcome::default() }
    }

    fn drop_keys(&mut self, organization: OrganizationId) {
        self.keys.forget(organization);
        self.grants.retain(|(held, _), _| *held != organization);
    }

    fn progress(&mut self, step: impl FnOnce(&mut Replica) -> Result<(), Refused>) -> Outcome {
        step(&mut self.replica).map_or_else(refuse, |()| Outcome::default())
    }

    fn conclude(&mut self, result: Result<Applied, Refused>) -> Outcome {
        match result {
            Ok(applied) => {
                self.replica.confirm_at(applied.organization, self.clock.now());
                self.publish();
                Outcome {
                    answers: vec![answer(&applied)],
                    to_save: vec![applied.organization],
                    applied: u64::from(applied.is_changed),
                    ..Outcome::default()
                }
            }
            Err(refused) => refuse(refused),
        }
    }
}

fn answer(applied: &Applied) -> Up {
    let (organization_id, revision) = (applied.organization.to_string(), applied.revision);
    if applied.bad.is_empty() {
        return Up::Ack(v1::Ack { organization_id, revision });
    }
    let bad = applied.bad.iter().map(frame::bad_message).collect();
    Up::Nack(v1::Nack {
        organization_id,
        revision,
        bad,
        refusal: v1::Refusal::Unspecified.into(),
        detail: String::new(),
    })
}

fn refusal(organization: &str, refusal: Refusal, detail: String) -> Refused {
    Refused { organization: organization.to_owned(), revision: 0, refusal, detail }
}

fn refuse(refused: Refused) -> Outcome {
    let nack = v1::Nack {
        organization_id: refused.organization.clone(),
        revision: refused.revision,
        bad: Vec::new(),
        refusal: frame::refusal_message(&refused.refusal).into(),
        detail: refused.to_string(),
    };
    let mut answers = vec![Up::Nack(nack)];
    // A state that does not add up is replaced as a whole; what is forged, foreign or too large would be so again.
    if matches!(refused.refusal, Refusal::SetHash | Refusal::Revision { .. } | Refusal::Sequence)
        && !refused.organization.is_empty()
    {
        let reason = refused.refusal.as_str().to_owned();
        answers.push(Up::Resync(v1::ResyncRequest { organization_id: refused.organization.clone(), reason }));
    }
    Outcome { answers, refused: Some(refused), ..Outcome::default() }
}
