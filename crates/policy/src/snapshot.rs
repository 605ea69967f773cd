//! A node's immutable compiled policy: what the request path reads, without locks and without allocation.
//!
//! Cloning shares everything; [`crate::compile()`] makes the next snapshot by replacing only what changed. Secrets are in clear
//! here and nowhere else in a node. Invariant: [`Snapshot::identify`] accepts a key only when its MAC matches, it is active,
//! its workspace exists, and the organization's policy is not older than the organization allows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::client_secret::ClientSecret;
use domain::credential::DataPolicy;
use domain::model::{ModelFacts, Quantization};
use domain::price::{PriceSource, Rates};
use domain::route::{Affinity, Dropped, FailureClass, Overrides, RetryBudget, Rules, StreamFailure, Timeouts};
use domain::secret::{Kid, TokenMac};
use domain::{
    BaseModel, CredentialId, DeploymentId, EnvironmentId, OrganizationId, PriceId, RouteId, Secret, Timestamp,
    TokenKind, TokenSecret, WorkspaceId,
};
use rustc_hash::FxHashMap;

use crate::budgets::Budgets;
use crate::cache::CachePolicy;
use crate::compile::BadReason;
use crate::facts::{Facts, hash};
use crate::limits::RateLimits;
use crate::resource::{KeyStatus, Kind, Price, VirtualKey};
use crate::set::{Location, SetHash};
use crate::stops::Stops;
use crate::table::Table;
use crate::tree::Tree;

/// All organizations a node holds.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) organizations: Table<OrganizationId, Arc<OrganizationPolicy>>,
    pub(crate) workspaces: Table<WorkspaceId, Arc<WorkspacePolicy>>,
    pub(crate) keys: Table<Kid, Arc<KeyPolicy>>,
}

/// When the control plane last said that the policy of one organization is current. Shared by successive snapshots.
#[derive(Debug, Default)]
pub struct Freshness(AtomicI64);

/// A clock that went back by more than this makes policy unverifiable rather than eternal.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

impl Freshness {
    /// Starts at a known confirmation.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.as_micros()))
    }

    /// Returns the last confirmation; the epoch when there was none.
    #[must_use]
    pub fn confirmed_at(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }

    /// Records that the policy was current at `at`.
    pub fn confirm(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::Relaxed);
    }

    /// Says whether the last confirmation is older than `max_stale`, or in a future that only a wrong clock explains.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp, max_stale: Duration) -> bool {
        let confirmed = self.confirmed_at();
        now.since(confirmed) > max_stale || confirmed > now.plus(CLOCK_TOLERANCE)
    }
}

/// One organization.
#[derive(Debug, Clone)]
pub struct OrganizationPolicy {
    /// Its id.
    pub id: OrganizationId,
    /// Its short name.
    pub slug: String,
    /// The revision in force.
    pub revision: u64,
    /// The hash of the resources in force.
    pub set_hash: SetHash,
    /// How long keys and credentials may be used without word from the control plane.
    pub max_stale: Duration,
    /// How long answers of the responses surface are kept for later calls; zero keeps none.
    pub response_retention: Duration,
    /// When the control plane last confirmed it.
    pub freshness: Arc<Freshness>,
    pub(crate) peppers: Arc<Vec<(u32, Secret<[u8; 32]>)>>,
    pub(crate) credentials: Arc<FxHashMap<CredentialId, Arc<CredentialPolicy>>>,
    pub(crate) prices: Arc<PriceBook>,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) stops: Arc<Stops>,
    pub(crate) bad: Arc<BTreeMap<Location, Bad>>,
}

/// A resource that did not compile.
#[derive(Debug, Clone)]
pub(crate) struct Bad {
    pub(crate) reason: BadReason,
    /// The content that is in force instead.
    pub(crate) last_good: Option<Bytes>,
}

/// One workspace.
#[derive(Debug, Clone)]
pub struct WorkspacePolicy {
    /// Its id.
    pub id: WorkspaceId,
    /// The tenant.
    pub organization: OrganizationId,
    /// Its short name.
    pub slug: String,
    pub(crate) environments: BTreeMap<EnvironmentId, String>,
    pub(crate) deployments: Vec<Arc<DeploymentPolicy>>,
    pub(crate) models: BTreeMap<Box<str>, Arc<ModelPolicy>>,
}

/// What a requested model name means in a workspace.
#[derive(Debug, Clone)]
pub struct ModelPolicy {
    /// The name.
    pub name: Box<str>,
    /// The route of that name; `None` when the name is that of a deployment or `provider/model`.
    pub route: Option<RouteId>,
    /// What may serve it: the leaves of the tree, then what only its rules name. Empty when all of it was bad.
    pub targets: Vec<TargetPolicy>,
    /// How one is chosen.
    pub tree: Tree,
    /// What happens beyond choosing.
    pub rules: RulesPolicy,
    /// Counts the calls that are served in turn.
    pub turns: Arc<AtomicU64>,
    /// Attempts over all targets.
    pub max_attempts: u16,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Whether lists of models show it; `provider/model` forms are understood but not listed.
    pub is_listed: bool,
}

/// One target of a model.
#[derive(Debug, Clone)]
pub struct TargetPolicy {
    /// What serves.
    pub deployment: Arc<DeploymentPolicy>,
}

/// The rules of a route, their deployments found.
#[derive(Debug, Clone, Default)]
pub struct RulesPolicy {
    /// By [`FailureClass::ALL`].
    pub(crate) fallbacks: [Next; 5],
    /// Silence after which a second target is asked.
    pub hedge_after: Option<Duration>,
    /// Where copies go, and the share of calls in percent.
    pub shadow: Option<(Arc<DeploymentPolicy>, u8)>,
    /// Repeated and early tries.
    pub retry_budget: RetryBudget,
    /// What follows when a stream breaks.
    pub on_stream_failure: StreamFailure,
    /// Whether parts of requests may be left out.
    pub dropped: Dropped,
    /// Whether requests may choose.
    pub overrides: Overrides,
    /// What keeps a conversation in one place.
    pub affinity: Affinity,
    /// How often what is out, or idle, is asked for a sign of life.
    pub probe_interval: Option<Duration>,
    /// Time over which what came back is given its share again.
    pub slow_start: Duration,
    /// Whether a request may make a target fail.
    pub is_rehearsal_allowed: bool,
    /// Whether answers are given again.
    pub cache: Option<Box<CachePolicy>>,
}

/// Where a failure leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Next {
    /// To the next target, unless the failure is a fact about the request.
    #[default]
    Usual,
    /// To the next target in any case.
    Further,
    /// To these slots before any other.
    To(Box<[u8]>),
    /// Nowhere.
    Stop,
}

impl RulesPolicy {
    /// Compiles rules. `slot` finds the place of a deployment among the model's targets, `shadow` a deployment.
    pub(crate) fn new(
        rules: &Rules,
        mut slot: impl FnMut(DeploymentId) -> Option<u8>,
        shadow: impl FnOnce(DeploymentId) -> Option<Arc<DeploymentPolicy>>,
    ) -> Self {
        let fallbacks = FailureClass::ALL.map(|class| match rules.fallback(class) {
            None => Next::Usual,
            Some(rule) if rule.stop => Next::Stop,
            Some(rule) if rule.to.is_empty() => Next::Further,
            Some(rule) => Next::To(rule.to.iter().filter_map(|id| slot(*id)).collect()),
        });
        let ms = |ms: u32| Duration::from_millis(u64::from(ms));
        Self {
            fallbacks,
            hedge_after: rules.hedge.map(|hedge| ms(hedge.after_ms)),
            shadow: rules.shadow.and_then(|rule| Some((shadow(rule.deployment_id)?, rule.percent))),
            retry_budget: rules.retry_budget,
            on_stream_failure: rules.on_stream_failure,
            dropped: rules.dropped,
            overrides: rules.overrides,
            affinity: rules.affinity,
            probe_interval: rules.probe_interval_ms.map(ms),
            slow_start: ms(rules.slow_start_ms.0),
            is_rehearsal_allowed: rules.is_rehearsal_allowed,
            cache: None,
        }
    }

    /// Returns where a failure leads.
    #[must_use]
    pub fn next(&self, class: FailureClass) -> &Next {
        let place = FailureClass::ALL.iter().position(|known| *known == class);
        place.and_then(|at| self.fallbacks.get(at)).unwrap_or(&Next::Usual)
    }

    /// Returns what keeps a call where its conversation is.
    #[must_use]
    pub fn affinity_of(&self, facts: &dyn Facts) -> Option<u64> {
        let is_bound = facts.is_bound();
        if self.affinity == Affinity::Off && !is_bound {
            return None;
        }
        let named = facts.conversation().map(|text| hash(text.as_bytes()));
        named.or_else(|| if is_bound || self.affinity == Affinity::Prefix { facts.prefix() } else { None })
    }
}

/// One deployment.
#[derive(Debug, Clone)]
pub struct DeploymentPolicy {
    /// Its id.
    pub id: DeploymentId,
    /// Its public name.
    pub name: String,
    /// The provider's registered name.
    pub provider: String,
    /// The model's name at the provider.
    pub upstream_model: String,
    /// The model of the catalog that it really is, where that name does not say so.
    pub base_model: Option<BaseModel>,
    /// What the organization says of the model, in place of what the catalog has.
    pub facts: Option<Arc<ModelFacts>>,
    /// How its numbers are held, if that was said.
    pub quantization: Option<Quantization>,
    /// How it authenticates.
    pub credential: CredentialUse,
    /// Whether it takes part in routing.
    pub is_enabled: bool,
}

impl DeploymentPolicy {
    /// Returns the address that its credential leads to; `None` where it has no credential that can be used.
    #[must_use]
    pub fn base_url(&self) -> Option<&str> {
        match &self.credential {
            CredentialUse::Ready(credential) => Some(&credential.base_url),
            CredentialUse::None | CredentialUse::Unavailable => None,
        }
    }

    /// Returns what the provider does with what is sent, if that was said. What needs no credential is here and keeps nothing.
    #[must_use]
    pub fn data_policy(&self) -> Option<DataPolicy> {
        match &self.credential {
            CredentialUse::Ready(credential) => credential.data_policy,
            CredentialUse::None => Some(DataPolicy::ZeroRetention),
            CredentialUse::Unavailable => None,
        }
    }

    /// Returns provider and name under which the catalog has what is known of the model.
    #[must_use]
    pub fn known_as(&self) -> (&str, &str) {
        match &self.base_model {
            Some(base) => base.parts(),
            None => (&self.provider, &self.upstream_model),
        }
    }

    /// Says whether it can be tried at all: enabled, and its credential at hand.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.is_enabled && !matches!(self.credential, CredentialUse::Unavailable)
    }
}

/// How a deployment authenticates.
#[derive(Debug, Clone)]
pub enum CredentialUse {
    /// The provider needs none.
    None,
    /// With this one.
    Ready(Arc<CredentialPolicy>),
    /// It names one that is absent, revoked, of another provider, or cannot be opened at this node.
    Unavailable,
}

/// One credential, opened.
#[derive(Debug)]
pub struct CredentialPolicy {
    /// Its id.
    pub id: CredentialId,
    /// The provider's registered name.
    pub provider: String,
    /// The only address the secret may be sent to.
    pub base_url: String,
    /// The secret in clear; `None` for upstreams that want none.
    pub secret: Option<Secret<String>>,
    /// Whether calls to the provider's own API may be signed with it.
    pub allows_passthrough: bool,
    /// What the provider does with what is sent, if that was said.
    pub data_policy: Option<DataPolicy>,
}

/// One virtual key.
#[derive(Debug)]
pub struct KeyPolicy {
    /// The tenant.
    pub organization: OrganizationId,
    /// The key.
    pub key: VirtualKey,
    /// Set when the latest state of the key could not be read here: neither accepted nor called invalid.
    pub is_unverifiable: bool,
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The key that was presented.
    pub key: &'a Arc<KeyPolicy>,
    /// The tenant.
    pub organization: &'a Arc<OrganizationPolicy>,
    /// The workspace of the key.
    pub workspace: &'a Arc<WorkspacePolicy>,
    /// Whether the secret that was shown is being rotated away.
    pub is_by_old_secret: bool,
}

/// Why a presented key was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Not a key, not known, or with a wrong secret: `key_invalid`, 401.
    #[error("key is not valid")]
    Invalid,
    /// Past its end, or a rotated secret past its overlap: `key_expired`, 401.
    #[error("key has expired")]
    Expired,
    /// Revoked, or its workspace is archived: `key_revoked`, 401.
    #[error("key was revoked")]
    Revoked,
    /// Stopped by a kill switch, or its workspace or organization is: `key_revoked`, 401.
    #[error("key was stopped")]
    Stopped,
    /// It cannot be verified at this node now: `policy_stale`, 503.
    #[error("policy is too old, or this key's policy could not be read, so that keys cannot be verified")]
    Unverifiable,
    /// The key is good, but its workspace's policy could not be read here and never was: `policy_invalid`, 503.
    #[error("the policy of the key's workspace could not be read")]
    Broken,
}

impl Snapshot {
    /// Returns an organization.
    #[must_use]
    pub fn organization(&self, id: OrganizationId) -> Option<&Arc<OrganizationPolicy>> {
        self.organizations.get(&id)
    }

    /// Lists the organizations in no useful order.
    pub fn organizations(&self) -> impl Iterator<Item = &Arc<OrganizationPolicy>> {
        self.organizations.values()
    }

    /// Returns a workspace.
    #[must_use]
    pub fn workspace(&self, id: WorkspaceId) -> Option<&Arc<WorkspacePolicy>> {
        self.workspaces.get(&id)
    }

    /// Lists the workspaces in no useful order.
    pub fn workspaces(&self) -> impl Iterator<Item = &Arc<WorkspacePolicy>> {
        self.workspaces.values()
    }

    /// Returns the number of virtual keys.
    #[must_use]
    pub const fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Returns the number of workspaces.
    #[must_use]
    pub const fn workspace_count(&self) -> usize {
        self.workspaces.len()
    }

    /// Finds a key by its public part; does not verify anything.
    #[must_use]
    pub fn find_key(&self, kid: Kid) -> Option<&Arc<KeyPolicy>> {
        self.keys.get(&kid)
    }

    /// Verifies a presented virtual key.
    ///
    /// The MAC is checked before status and expiry, so that only the holder of the secret learns them. Costs one or two
    /// HMACs; allocates nothing.
    pub fn identify(&self, token: &str, now: Timestamp) -> Result<Caller<'_>, KeyRefusal> {
        let kid = TokenSecret::kid_of(TokenKind::VirtualKey, token).map_err(|_| KeyRefusal::Invalid)?;
        self.accept(kid, now, |organization, key| organization.verify(key, token))
    }

    /// Verifies what opens a realtime session: a virtual key, or a client secret that was made with one. Of a client secret what it grants is
    /// given, too; whether its own time is over is for whoever reads that.
    pub fn identify_session<'t>(
        &self,
        token: &'t str,
        now: Timestamp,
    ) -> Result<(Caller<'_>, Option<&'t str>), KeyRefusal> {
        if !ClientSecret::is_one(token) {
            return self.identify(token, now).map(|caller| (caller, None));
        }
        let secret = ClientSecret::parse(token).ok_or(KeyRefusal::Invalid)?;
        let caller = self.accept(secret.kid(), now, |organization, key| organization.verify_client(key, &secret))?;
        Ok((caller, Some(secret.grant())))
    }

    /// Finds the key of a public id and says whether it is in force; `verify` says whether its holder calls.
    fn accept(
        &self,
        kid: Kid,
        now: Timestamp,
        verify: impl FnOnce(&OrganizationPolicy, &VirtualKey) -> Result<Option<Timestamp>, KeyRefusal>,
    ) -> Result<Caller<'_>, KeyRefusal> {
        let Some(key) = self.keys.get(&kid) else {
            // A key that was made after word from the control plane ended is unknown here and yet may be good.
            let is_current = !self.organizations.is_empty() && !self.organizations().any(|it| it.is_stale(now));
            return Err(if is_current { KeyRefusal::Invalid } else { KeyRefusal::Unverifiable });
        };
        let organization = self.organizations.get(&key.organization).ok_or(KeyRefusal::Unverifiable)?;
        if key.is_unverifiable || organization.is_stale(now) {
            return Err(KeyRefusal::Unverifiable);
        }
        let retires_at = verify(organization, &key.key)?;
        if key.key.status == KeyStatus::Revoked {
            return Err(KeyRefusal::Revoked);
        }
        if organization.stops.refuse(key.key.workspace, key.key.id) {
            return Err(KeyRefusal::Stopped);
        }
        if [retires_at, key.key.expires_at].into_iter().flatten().any(|at| at <= now) {
            return Err(KeyRefusal::Expired);
        }
        let Some(workspace) = self.workspaces.get(&key.key.workspace) else {
            let is_broken = organization.lacks(key.key.workspace, Kind::Workspace..=Kind::Workspace);
            return Err(if is_broken { KeyRefusal::Broken } else { KeyRefusal::Revoked });
        };
        Ok(Caller { key, organization, workspace, is_by_old_secret: retires_at.is_some() })
    }
}

impl Caller<'_> {
    /// Makes a client secret of the presented key; it ends with the secret that was presented. `None` when that is none of the key's.
    #[must_use]
    pub fn issue_client_secret(&self, presented: &str, grant: &str) -> Option<String> {
        let scope = IdText::of(self.organization.id);
        self.key.key.secrets.iter().find_map(|secret| {
            let pepper = self.organization.pepper(secret.pepper_version)?;
            let is_presented = secret.mac.matches(&TokenMac::compute(pepper, scope.as_str(), presented));
            is_presented.then(|| ClientSecret::issue(self.key.key.kid, grant, pepper, scope.as_str(), &secret.mac))
        })
    }

    /// Says whether a model that the workspace does not seem to have may yet be there: some of its models could not be read here
    /// and never were, so nothing can be said of what they are called.
    #[must_use]
    pub fn may_lack_models(&self) -> bool {
        self.organization.lacks(self.workspace.id, Kind::Deployment..=Kind::Route)
    }
}

impl OrganizationPolicy {
    /// Says whether keys and credentials of the organization can no longer be relied on.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.freshness.is_stale(now, self.max_stale)
    }

    /// Returns the end of the secret that matches, or why none does.
    fn verify(&self, key: &VirtualKey, token: &str) -> Result<Option<Timestamp>, KeyRefusal> {
        // The id's text is the MAC's scope; 30 bytes on the stack instead of a String.
        let scope = IdText::of(self.id);
        let mut computed: Option<(u32, TokenMac)> = None;
        for secret in &key.secrets {
            let mac = match computed {
                Some((version, mac)) if version == secret.pepper_version => mac,
                _ => {
                    let pepper = self.pepper(secret.pepper_version).ok_or(KeyRefusal::Unverifiable)?;
                    let mac = TokenMac::compute(pepper, scope.as_str(), token);
                    computed = Some((secret.pepper_version, mac));
                    mac
                }
            };
            if secret.mac.matches(&mac) {
                return Ok(secret.retires_at);
            }
        }
        Err(KeyRefusal::Invalid)
    }

    /// Returns the end of the key's secret with which a client secret was made, or why there is none.
    fn verify_client(&self, key: &VirtualKey, presented: &ClientSecret<'_>) -> Result<Option<Timestamp>, KeyRefusal> {
        let scope = IdText::of(self.id);
        for secret in &key.secrets {
            let pepper = self.pepper(secret.pepper_version).ok_or(KeyRefusal::Unverifiable)?;
            if presented.is_made_of(pepper, scope.as_str(), &secret.mac) {
                return Ok(secret.retires_at);
            }
        }
        Err(KeyRefusal::Invalid)
    }

    fn pepper(&self, version: u32) -> Option<&[u8; 32]> {
        self.peppers.iter().find(|(known, _)| *known == version).map(|(_, pepper)| pepper.expose())
    }

    /// Returns a credential.
    #[must_use]
    pub fn credential(&self, id: CredentialId) -> Option<&Arc<CredentialPolicy>> {
        self.credentials.get(&id)
    }

    /// Finds the price of a deployment that holds at `at`; the organization's own goes before the catalog's.
    #[must_use]
    pub fn price(&self, deployment: &DeploymentPolicy, at: Timestamp) -> Option<&Price> {
        self.prices.find_for(deployment, at)
    }

    /// Returns the budgets.
    #[must_use]
    pub const fn budgets(&self) -> &Arc<Budgets> {
        &self.budgets
    }

    /// Returns the rate limits.
    #[must_use]
    pub const fn limits(&self) -> &Arc<RateLimits> {
        &self.limits
    }

    /// Returns what is stopped.
    #[must_use]
    pub const fn stops(&self) -> &Arc<Stops> {
        &self.stops
    }

    /// Says whether a resource of a workspace could not be read, with no earlier version to fall back on.
    fn lacks(&self, workspace: WorkspaceId, kinds: std::ops::RangeInclusive<Kind>) -> bool {
        self.bad.iter().any(|(location, bad)| {
            location.workspace == Some(workspace)
                && kinds.contains(&location.key.kind)
                && bad.last_good.is_none()
                && matches!(bad.reason, BadReason::Unreadable(_))
        })
    }

    /// Lists what did not compile: where, and why as `field.reason`.
    pub fn bad_resources(&self) -> impl Iterator<Item = (Location, &BadReason)> {
        self.bad.iter().map(|(location, bad)| (*location, &bad.reason))
    }
}

/// An id's text on the stack.
struct IdText {
    bytes: [u8; 40],
    length: usize,
}

impl IdText {
    fn of(id: OrganizationId) -> Self {
        let mut text = Self { bytes: [0; 40], length: 0 };
        // 30 characters into 40 bytes cannot fail.
        if std::fmt::Write::write_fmt(&mut text, format_args!("{id}")).is_err() {
            text.length = 0;
        }
        text
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl std::fmt::Write for IdText {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl WorkspacePolicy {
    /// Finds what a requested model name means: a route, else a deployment, else `provider/model`.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Arc<ModelPolicy>> {
        self.models.get(name)
    }

    /// Lists the models that clients may ask for, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<ModelPolicy>> {
        self.models.values().filter(|model| model.is_listed)
    }

    /// Lists the deployments.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<DeploymentPolicy>> {
        self.deployments.iter()
    }

    /// Returns the short name of an environment.
    #[must_use]
    pub fn environment(&self, id: EnvironmentId) -> Option<&str> {
        self.environments.get(&id).map(String::as_str)
    }
}

impl KeyPolicy {
    /// Says whether the key may call `model`.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.key.allows(model)
    }
}

/// Dated prices by provider and model.
#[derive(Debug, Default)]
pub struct PriceBook {
    /// Provider → model → own prices first, then the catalog's, newest first in each.
    by_provider: FxHashMap<Box<str>, FxHashMap<Box<str>, Vec<Price>>>,
}

impl PriceBook {
    /// Builds the book.
    #[must_use]
    pub fn new(prices: impl IntoIterator<Item = Price>) -> Self {
        let mut book = Self::default();
        for price in prices {
            let models = book.by_provider.entry(price.provider.as_str().into()).or_default();
            models.entry(price.upstream_model.as_str().into()).or_default().push(price);
        }
        for list in book.by_provider.values_mut().flat_map(FxHashMap::values_mut) {
            list.sort_by_key(|price| {
                (price.source == PriceSource::Catalog, std::cmp::Reverse((price.effective_at, price.id)))
            });
        }
        book
    }

    /// Finds the price of a deployment that holds at `at`: an own one of its very name, then those of the model that it is.
    #[must_use]
    pub fn find_for(&self, deployment: &DeploymentPolicy, at: Timestamp) -> Option<&Price> {
        let named = self.find(&deployment.provider, &deployment.upstream_model, at);
        match &deployment.base_model {
            None => named,
            Some(base) => {
                let (provider, name) = base.parts();
                named.filter(|price| price.source == PriceSource::Own).or_else(|| self.find(provider, name, at))
            }
        }
    }

    /// Finds the price that holds at `at`.
    #[must_use]
    pub fn find(&self, provider: &str, upstream_model: &str, at: Timestamp) -> Option<&Price> {
        self.by_provider.get(provider)?.get(upstream_model)?.iter().find(|price| price.effective_at <= at)
    }
}

impl Price {
    /// Returns the rates for a call with this much input: those of the highest long-context bound it exceeds.
    #[must_use]
    pub fn rates_for(&self, total_input_tokens: u64) -> &Rates {
        let long = self.long_context.iter().rev().find(|long| total_input_tokens > long.above_input_tokens);
        long.map_or(&self.rates, |long| &long.rates)
    }

    /// Returns the id that usage events name.
    #[must_use]
    pub const fn price_id(&self) -> PriceId {
        self.id
    }
}
