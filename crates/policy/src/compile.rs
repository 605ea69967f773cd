//! Resources → [`Snapshot`]: decodes, opens secrets, resolves references, and rebuilds only what was touched.
//!
//! A resource that cannot be read keeps its last good version, or is absent; a virtual key in that state is unverifiable,
//! because serving an old state of it could serve a revoked key. References that lead nowhere make only the object that holds
//! them unusable. Invariant: compiling a sequence of changes gives what compiling the last set gives, save for last good versions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use domain::credential::seal_context;
use domain::route::{Node, Route as RouteEntity, Rules, Target, Timeouts};
use domain::secret::Kid;
use domain::{CredentialId, DeploymentId, OrganizationId, Secret, WorkspaceId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::budgets::{BudgetPolicy, Budgets};
use crate::cache::CachePolicy;
use crate::limits::{LimitPolicy, RateLimits};
use crate::resource::{
    Content, Credential, Deployment, KeyStatus, Kind, Organization, Resource, Route, VirtualKey, pepper_place,
};
use crate::set::{Location, ResourceSet, SetHash};
use crate::snapshot::{
    Bad, CredentialPolicy, CredentialUse, DeploymentPolicy, Freshness, KeyPolicy, ModelPolicy, OrganizationPolicy,
    PriceBook, RulesPolicy, Snapshot, TargetPolicy, WorkspacePolicy,
};
use crate::stops::{Serving, Stops};
use crate::tree::{SLOTS, Tree};
use crate::wire::{self, WireError};

/// Opens what is sealed with an organization's data key; implemented by the node over its key grants.
pub trait SecretOpener: Send + Sync {
    /// Opens `sealed` (nonce, ciphertext, tag) with `place` as associated data. `None`: no such data key, or it does not open.
    fn open(
        &self,
        organization: OrganizationId,
        data_key_version: u32,
        place: &str,
        sealed: &[u8],
    ) -> Option<Secret<Vec<u8>>>;
}

/// Why a resource did not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReason {
    /// Its content cannot be read.
    #[error("{0}")]
    Unreadable(WireError),
    /// It names something that does not exist here.
    #[error("{field} names {id}, which does not exist in this scope")]
    Dangling {
        /// The field with the reference.
        field: &'static str,
        /// What it names.
        id: String,
    },
    /// It claims something that another resource holds.
    #[error("{field} is already taken by another resource")]
    Taken {
        /// The field with the claim.
        field: &'static str,
    },
    /// Its secret does not open at this node.
    #[error("{field} does not open with the data key this node holds")]
    Unopenable {
        /// The field with the secret.
        field: &'static str,
    },
    /// Its credential is of another provider.
    #[error("credential_id names a credential of another provider")]
    ProviderMismatch,
}

impl BadReason {
    /// Returns the stable, machine-readable form `field.reason`.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Unreadable(error) => format!("{}.{}", error.field, error.reason.as_str()),
            Self::Dangling { field, .. } => format!("{field}.dangling"),
            Self::Taken { field } => format!("{field}.taken"),
            Self::Unopenable { field } => format!("{field}.unopenable"),
            Self::ProviderMismatch => "credential_id.provider_mismatch".to_owned(),
        }
    }
}

/// A resource that did not compile, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadResource {
    /// Which one.
    pub location: Location,
    /// Why.
    pub reason: BadReason,
}

/// What one compilation starts from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The snapshot in force.
    pub previous: &'a Snapshot,
    /// The set it was compiled from.
    pub before: &'a ResourceSet,
    /// The set to compile.
    pub after: &'a ResourceSet,
    /// The revision that the snapshot is said to be of.
    pub revision: u64,
    /// The hash of that revision. Another one than that of `after` while something urgent is ahead of its revision.
    pub set_hash: SetHash,
    /// What differs, in any order; naming too much is only slower.
    pub touched: &'a [Location],
    /// What must not be used whatever the set says: keys count as revoked, everything else as absent.
    pub denied: &'a BTreeSet<Location>,
    /// Opens secrets.
    pub opener: &'a dyn SecretOpener,
}

/// Compiles the next snapshot. Never fails: what is bad is named by [`OrganizationPolicy::bad_resources`] of the result.
#[must_use]
pub fn compile(input: Input<'_>) -> Snapshot {
    let id = input.after.organization();
    let organization =
        input.previous.organization(id).map_or_else(|| OrganizationPolicy::empty(id), |it| (**it).clone());
    let mut work = Work { input, bad: (*organization.bad).clone(), organization, next: input.previous.clone() };
    work.run();
    work.next
}

/// Takes an organization out of a snapshot, with everything that belongs to it.
#[must_use]
pub fn forget(previous: &Snapshot, held: &ResourceSet, opener: &dyn SecretOpener) -> Snapshot {
    let empty = ResourceSet::empty(held.organization());
    let (_, touched) = held.difference(&empty);
    let (denied, set_hash) = (BTreeSet::new(), empty.hash());
    let input = Input {
        previous,
        before: held,
        after: &empty,
        revision: 0,
        set_hash,
        touched: &touched,
        denied: &denied,
        opener,
    };
    let mut next = compile(input);
    next.organizations.remove(&held.organization());
    next
}

/// Compiles a whole set with secrets taken on trust and returns what is bad: the control plane's check before it commits.
#[must_use]
pub fn check(set: &ResourceSet) -> Vec<BadResource> {
    struct Trusting;
    impl SecretOpener for Trusting {
        fn open(&self, _: OrganizationId, _: u32, _: &str, _: &[u8]) -> Option<Secret<Vec<u8>>> {
            Some(Secret::new(vec![b'x'; 32]))
        }
    }
    let before = ResourceSet::empty(set.organization());
    let touched: Vec<_> = set.iter().map(|resource| resource.location()).collect();
    let (previous, denied) = (Snapshot::default(), BTreeSet::new());
    let input = Input {
        previous: &previous,
        before: &before,
        after: set,
        revision: 0,
        set_hash: set.hash(),
        touched: &touched,
        denied: &denied,
        opener: &Trusting,
    };
    bad_of(&compile(input), set.organization())
}

/// Lists what did not compile in an organization.
#[must_use]
pub fn bad_of(snapshot: &Snapshot, organization: OrganizationId) -> Vec<BadResource> {
    let listed = snapshot.organization(organization).into_iter().flat_map(|it| it.bad_resources());
    listed.map(|(location, reason)| BadResource { location, reason: reason.clone() }).collect()
}

impl OrganizationPolicy {
    fn empty(id: OrganizationId) -> Self {
        Self {
            id,
            slug: String::new(),
            revision: 0,
            set_hash: SetHash::default(),
            max_stale: domain::organization::Organization::DEFAULT_MAX_STALE,
            response_retention: domain::organization::Organization::DEFAULT_RESPONSE_RETENTION,
            freshness: Arc::new(Freshness::default()),
            peppers: Arc::default(),
            credentials: Arc::default(),
            prices: Arc::default(),
            budgets: Arc::default(),
            limits: Arc::default(),
            stops: Arc::default(),
            bad: Arc::default(),
        }
    }
}

struct Work<'a> {
    input: Input<'a>,
    organization: OrganizationPolicy,
    bad: BTreeMap<Location, Bad>,
    next: Snapshot,
}

impl Work<'_> {
    fn run(&mut self) {
        let touched = |kind: Kind| self.input.touched.iter().copied().filter(move |location| location.key.kind == kind);
        let credentials: Vec<_> = touched(Kind::Credential).collect();
        let organizations: Vec<_> = touched(Kind::Organization).collect();
        let keys: Vec<_> = touched(Kind::VirtualKey).collect();
        let has_prices = touched(Kind::Price).next().is_some();
        let has_budgets = touched(Kind::Budget).next().is_some();
        let has_limits = touched(Kind::RateLimit).next().is_some();
        let has_stops = touched(Kind::KillSwitch).next().is_some();
        let mut workspaces: BTreeSet<WorkspaceId> = [Kind::Workspace, Kind::Environment, Kind::Deployment, Kind::Route]
            .into_iter()
            .flat_map(touched)
            .filter_map(|location| location.workspace)
            .collect();
        for location in organizations {
            self.organization(location);
        }
        if has_prices {
            self.prices();
        }
        if has_budgets {
            self.budgets();
        }
        if has_limits {
            self.limits();
        }
        if has_stops {
            self.stops();
            // What is out of routing is decided where deployments are compiled.
            workspaces.extend(self.input.after.workspaces());
        }
        if !credentials.is_empty() {
            self.credentials(&credentials);
            workspaces.extend(self.using(&credentials));
        }
        for workspace in workspaces {
            self.workspace(workspace);
        }
        self.keys(&keys);
        self.organization.revision = self.input.revision;
        self.organization.set_hash = self.input.set_hash;
        self.organization.bad = Arc::new(std::mem::take(&mut self.bad));
        self.next.organizations.insert(self.organization.id, Arc::new(self.organization.clone()));
    }

    fn decode(&self, location: Location, content: &Bytes) -> Result<Content, WireError> {
        wire::decode(&Resource {
            key: location.key,
            organization: self.organization.id,
            workspace: location.workspace,
            content: content.clone(),
        })
    }

    /// The content that was in force before this change: the last good one, also when the set held a bad one.
    fn in_force_before(&self, location: Location) -> Option<Bytes> {
        match self.organization.bad.get(&location) {
            Some(Bad { reason: BadReason::Unreadable(_), last_good }) => last_good.clone(),
            _ => self.input.before.get(location).cloned(),
        }
    }

    /// Reads a resource; falls back to its last good version and takes note. The flag says whether it fell back.
    fn read(&mut self, location: Location) -> Option<(Content, bool)> {
        self.bad.remove(&location);
        if self.input.denied.contains(&location) && location.key.kind != Kind::VirtualKey {
            return None;
        }
        let content = self.input.after.get(location)?;
        let reason = match self.decode(location, content) {
            Ok(content) => return Some((content, false)),
            Err(error) => BadReason::Unreadable(error),
        };
        let last_good = self.in_force_before(location).filter(|bytes| self.decode(location, bytes).is_ok());
        let fallback = last_good.as_ref().and_then(|bytes| self.decode(location, bytes).ok());
        self.bad.insert(location, Bad { reason, last_good });
        fallback.map(|content| (content, true))
    }

    fn blame(&mut self, location: Location, reason: BadReason) {
        self.bad.entry(location).or_insert(Bad { reason, last_good: None });
    }

    // === Of the organization as a whole ===

    fn organization(&mut self, location: Location) {
        let Some((Content::Organization(it), _)) = self.read(location) else {
            let OrganizationPolicy { slug, max_stale, response_retention, peppers, .. } =
                OrganizationPolicy::empty(self.organization.id);
            self.organization.slug = slug;
            self.organization.max_stale = max_stale;
            self.organization.response_retention = response_retention;
            self.organization.peppers = peppers;
            return;
        };
        let peppers = self.peppers(&it, location);
        let Organization { slug, max_stale, response_retention, .. } = it;
        self.organization.slug = slug;
        self.organization.max_stale = max_stale;
        self.organization.response_retention = response_retention;
        self.organization.peppers = Arc::new(peppers);
    }

    fn peppers(&mut self, it: &Organization, location: Location) -> Vec<(u32, Secret<[u8; 32]>)> {
        let mut peppers = Vec::with_capacity(it.key_peppers.len());
        for sealed in &it.key_peppers {
            let place = pepper_place(it.id, sealed.version);
            let opened = self.input.opener.open(it.id, sealed.data_key_version, &place, &sealed.sealed);
            match opened.and_then(|plain| <[u8; 32]>::try_from(plain.expose().as_slice()).ok()) {
                Some(pepper) => peppers.push((sealed.version, Secret::new(pepper))),
                None => self.blame(location, BadReason::Unopenable { field: "key_peppers" }),
            }
        }
        peppers
    }

    fn prices(&mut self) {
        let read = self.read_all(Kind::Price).into_iter().filter_map(|content| match content {
            Content::Price(price) => Some(price),
            _ => None,
        });
        self.organization.prices = Arc::new(PriceBook::new(read));
    }

    fn budgets(&mut self) {
        let read = self.read_all(Kind::Budget).into_iter().filter_map(|content| match content {
            Content::Budget(budget) => Some(BudgetPolicy::from(budget)),
            _ => None,
        });
        self.organization.budgets = Arc::new(Budgets::new(read.collect()));
    }

    /// Reads all of a kind that belongs to the organization as a whole.
    fn read_all(&mut self, kind: Kind) -> Vec<Content> {
        let all: Vec<_> =
            self.input.after.list(None, kind..=kind).map(|(key, _)| Location { workspace: None, key }).collect();
        self.bad.retain(|location, _| location.key.kind != kind);
        all.into_iter().filter_map(|location| self.read(location)).map(|(content, _)| content).collect()
    }

    fn limits(&mut self) {
        let read = self.read_all(Kind::RateLimit).into_iter().filter_map(|content| match content {
            Content::RateLimit(limit) => Some(LimitPolicy::from(limit)),
            _ => None,
        });
        self.organization.limits = Arc::new(RateLimits::new(read.collect()));
    }

    fn stops(&mut self) {
        let read = self.read_all(Kind::KillSwitch).into_iter().filter_map(|content| match content {
            Content::KillSwitch(switch) => Some(switch),
            _ => None,
        });
        self.organization.stops = Arc::new(Stops::new(read.collect()));
    }

    fn credentials(&mut self, touched: &[Location]) {
        let mut credentials = (*self.organization.credentials).clone();
        for location in touched {
            credentials.remove(&CredentialId::from_uuid(location.key.id));
            if let Some((Content::Credential(it), _)) = self.read(*location)
                && let Some(opened) = self.credential(it, *location)
            {
                credentials.insert(opened.id, Arc::new(opened));
            }
        }
        self.organization.credentials = Arc::new(credentials);
    }

    fn credential(&mut self, it: Credential, location: Location) -> Option<CredentialPolicy> {
        let secret = match &it.secret {
            None => None,
            Some(sealed) => {
                let organization = self.organization.id;
                let place = seal_context(organization, it.id, sealed.version);
                let opened = self.input.opener.open(organization, sealed.data_key_version, &place, &sealed.sealed);
                let Some(text) = opened.and_then(|plain| String::from_utf8(plain.expose().clone()).ok()) else {
                    self.blame(location, BadReason::Unopenable { field: "secret" });
                    return None;
                };
                Some(Secret::new(text))
            }
        };
        Some(CredentialPolicy {
            id: it.id,
            provider: it.provider,
            base_url: it.base_url,
            secret,
            allows_passthrough: it.allows_passthrough,
            data_policy: it.data_policy,
        })
    }

    /// The workspaces of this organization with a deployment that names one of these credentials.
    fn using(&self, credentials: &[Location]) -> Vec<WorkspaceId> {
        let ids: FxHashSet<_> = credentials.iter().map(|location| location.key.id).collect();
        let uses = |workspace: WorkspaceId| {
            self.input.after.list(Some(workspace), Kind::Deployment..=Kind::Deployment).any(|(key, content)| {
                let location = Location { workspace: Some(workspace), key };
                let decoded = self.decode(location, content);
                // An unreadable deployment may be in force with its last good version; rebuilding is always right.
                !matches!(decoded, Ok(Content::Deployment(it)) if it.credential.is_none_or(|id| !ids.contains(&id.as_uuid())))
            })
        };
        self.input.after.workspaces().filter(|workspace| uses(*workspace)).collect()
    }

    // === Workspaces ===

    fn workspace(&mut self, id: WorkspaceId) {
        self.bad.retain(|location, _| location.workspace != Some(id) || location.key.kind == Kind::VirtualKey);
        let mut listed: Vec<_> =
            self.input.after.list(Some(id), Kind::Workspace..=Kind::Environment).map(|(key, _)| key).collect();
        listed.extend(self.input.after.list(Some(id), Kind::Deployment..=Kind::Route).map(|(key, _)| key));
        let mut workspace = None;
        let mut environments = BTreeMap::new();
        let (mut deployments, mut routes) = (Vec::new(), Vec::new());
        for key in listed {
            match self.read(Location { workspace: Some(id), key }) {
                Some((Content::Workspace(it), _)) => workspace = Some(it),
                Some((Content::Environment(it), _)) => drop(environments.insert(it.id, it.slug)),
                Some((Content::Deployment(it), _)) => deployments.push(it),
                Some((Content::Route(it), _)) => routes.push(it),
                _ => {}
            }
        }
        let Some(workspace) = workspace else {
            self.next.workspaces.remove(&id);
            return;
        };
        deployments.sort_by_key(|it| it.id);
        let deployments: Vec<_> = deployments.into_iter().map(|it| Arc::new(self.deployment(it))).collect();
        let models = self.models(id, &deployments, routes);
        let organization = self.organization.id;
        let policy = WorkspacePolicy { id, organization, slug: workspace.slug, environments, deployments, models };
        self.next.workspaces.insert(id, Arc::new(policy));
    }

    fn deployment(&mut self, it: Deployment) -> DeploymentPolicy {
        let location = Location { workspace: Some(it.workspace), key: Content::Deployment(it.clone()).key() };
        let credential = match it.credential {
            None => CredentialUse::None,
            Some(id) => match self.organization.credentials.get(&id).cloned() {
                Some(credential) if credential.provider == it.provider => CredentialUse::Ready(credential),
                Some(_) => {
                    self.blame(location, BadReason::ProviderMismatch);
                    CredentialUse::Unavailable
                }
                // An archived credential takes its deployments out of routing; that is a state, not a mistake.
                None if !it.is_enabled => CredentialUse::Unavailable,
                None => {
                    self.blame(location, BadReason::Dangling { field: "credential_id", id: id.to_string() });
                    CredentialUse::Unavailable
                }
            },
        };
        let serving = Serving { deployment: Some(it.id), provider: &it.provider, upstream_model: &it.upstream_model };
        let is_enabled = it.is_enabled && !self.organization.stops.take_out(&serving);
        DeploymentPolicy {
            id: it.id,
            name: it.name.to_string(),
            provider: it.provider,
            upstream_model: it.upstream_model,
            base_model: it.base_model,
            facts: it.facts,
            quantization: it.quantization,
            credential,
            is_enabled,
        }
    }

    /// Names in order of precedence: routes, deployments, `provider/model`.
    fn models(
        &mut self,
        workspace: WorkspaceId,
        deployments: &[Arc<DeploymentPolicy>],
        routes: Vec<Route>,
    ) -> BTreeMap<Box<str>, Arc<ModelPolicy>> {
        let by_id: FxHashMap<DeploymentId, &Arc<DeploymentPolicy>> = deployments.iter().map(|it| (it.id, it)).collect();
        let mut models = BTreeMap::new();
        for route in routes {
            let model = self.route(workspace, &route, &by_id);
            models.entry(model.name.clone()).or_insert_with(|| Arc::new(model));
        }
        let named = deployments.iter().map(|it| (it.name.as_str().into(), it));
        let served =
            deployments.iter().map(|it| (format!("{}/{}", it.provider, it.upstream_model).into_boxed_str(), it));
        for (is_named, group) in [(true, group(named)), (false, group(served))] {
            for (name, targets) in group {
                let equal = |it: &&Arc<DeploymentPolicy>| Target { deployment_id: it.id, priority: 0, weight: 1 };
                let listed: Vec<_> = targets.iter().take(SLOTS).map(equal).collect();
                let route = Parts {
                    targets: &listed,
                    tree: None,
                    rules: &Rules::default(),
                    max_attempts: RouteEntity::DEFAULT_ATTEMPTS,
                    timeouts: Timeouts::default(),
                };
                let mut model = route.compile(name.clone(), &by_id, &mut |_, _| {});
                model.is_listed = is_named;
                models.entry(name).or_insert_with(|| Arc::new(model));
            }
        }
        models
    }

    fn route(
        &mut self,
        workspace: WorkspaceId,
        it: &Route,
        deployments: &FxHashMap<DeploymentId, &Arc<DeploymentPolicy>>,
    ) -> ModelPolicy {
        let location = Location { workspace: Some(workspace), key: Content::Route(it.clone()).key() };
        let (targets, tree) = (it.targets.as_slice(), it.tree.as_ref());
        let parts = Parts { targets, tree, rules: &it.rules, max_attempts: it.max_attempts, timeouts: it.timeouts };
        let mut model = parts.compile(it.name.as_str().into(), deployments, &mut |field, id| {
            self.blame(location, BadReason::Dangling { field, id: id.to_string() });
        });
        model.route = Some(it.id);
        // Turns go on where they were: a change elsewhere in the workspace does not begin them anew.
        let held = self.input.previous.workspace(workspace);
        if let Some(before) = held.and_then(|held| held.model(&model.name)).filter(|before| before.route == model.route)
        {
            model.turns = Arc::clone(&before.turns);
        }
        model
    }

    // === Virtual keys ===

    fn keys(&mut self, touched: &[Location]) {
        // First take out, then put in: a kid may pass from one key to another in one revision.
        for location in touched {
            if let Some(kid) = self.kid_before(*location)
                && self.next.keys.get(&kid).is_some_and(|held| held.key.id.as_uuid() == location.key.id)
            {
                self.next.keys.remove(&kid);
            }
        }
        for location in touched {
            let Some((Content::VirtualKey(key), is_unverifiable)) = self.read(*location) else { continue };
            self.key(*location, key, is_unverifiable);
        }
    }

    fn kid_before(&self, location: Location) -> Option<Kid> {
        match self.decode(location, &self.in_force_before(location)?) {
            Ok(Content::VirtualKey(key)) => Some(key.kid),
            _ => None,
        }
    }

    fn key(&mut self, location: Location, mut key: VirtualKey, is_unverifiable: bool) {
        if self.next.keys.get(&key.kid).is_some_and(|held| held.key.id != key.id) {
            self.blame(location, BadReason::Taken { field: "kid" });
            return;
        }
        if self.input.denied.contains(&location) {
            key.status = KeyStatus::Revoked;
        }
        // What is known to be revoked stays so, readable or not.
        let is_unverifiable = is_unverifiable && key.status != KeyStatus::Revoked;
        let policy = KeyPolicy { organization: self.organization.id, key, is_unverifiable };
        self.next.keys.insert(policy.key.kid, Arc::new(policy));
    }
}

/// What a model is made of.
pub(crate) struct Parts<'a> {
    pub(crate) targets: &'a [Target],
    pub(crate) tree: Option<&'a Node>,
    pub(crate) rules: &'a Rules,
    pub(crate) max_attempts: u16,
    pub(crate) timeouts: Timeouts,
}

impl Parts<'_> {
    /// Finds the deployments and flattens the tree. `missing` is told of those that are not there.
    pub(crate) fn compile(
        &self,
        name: Box<str>,
        deployments: &FxHashMap<DeploymentId, &Arc<DeploymentPolicy>>,
        missing: &mut dyn FnMut(&'static str, DeploymentId),
    ) -> ModelPolicy {
        let mut targets: Vec<TargetPolicy> = Vec::with_capacity(self.targets.len());
        let mut take = |field, id| match deployments.get(&id) {
            Some(_) if targets.iter().any(|known| known.deployment.id == id) => {}
            Some(deployment) => targets.push(TargetPolicy { deployment: Arc::clone(deployment) }),
            None => missing(field, id),
        };
        match self.tree {
            Some(tree) => tree.visit_deployments(&mut |id| take("tree.deployment_id", id)),
            None => self.targets.iter().for_each(|target| take("targets.deployment_id", target.deployment_id)),
        }
        let to = self.rules.fallbacks.iter().flat_map(|fallback| &fallback.to);
        to.for_each(|id| take("rules.fallbacks.to", *id));
        if let Some(shadow) = self.rules.shadow
            && !deployments.contains_key(&shadow.deployment_id)
        {
            missing("rules.shadow.deployment_id", shadow.deployment_id);
        }
        let mut slot = |id: DeploymentId| {
            targets.iter().position(|target| target.deployment.id == id).and_then(|at| u8::try_from(at).ok())
        };
        let tree = match self.tree {
            Some(tree) => Tree::of(tree, &mut slot),
            None => Tree::of_targets(self.targets, &mut slot),
        };
        let mut rules = RulesPolicy::new(self.rules, slot, |id| deployments.get(&id).map(|it| Arc::clone(it)));
        rules.cache = CachePolicy::of(self, &targets).map(Box::new);
        ModelPolicy {
            name,
            route: None,
            targets,
            tree,
            rules,
            turns: Arc::default(),
            max_attempts: self.max_attempts,
            timeouts: self.timeouts,
            is_listed: true,
        }
    }
}

type Named<'a> = (Box<str>, &'a Arc<DeploymentPolicy>);

fn group<'a>(items: impl Iterator<Item = Named<'a>>) -> BTreeMap<Box<str>, Vec<&'a Arc<DeploymentPolicy>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, deployment) in items {
        groups.entry(name).or_default().push(deployment);
    }
    groups
}

#[cfg(test)]
mod tests;
