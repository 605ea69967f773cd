//! Everything a node may be told, as our own types. Not the stored entities: only what serving a request needs.
//!
//! A [`Resource`] is the unit that is hashed, sent and signed: a key, its parents, and the encoded content as bytes. A
//! [`Content`] is what those bytes mean. Invariant: a resource's organization and workspace never change under its key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::budget::{Dimension, Enforcement, Limit, Measure, Subject, WhenUnreachable};
use domain::credential::DataPolicy;
use domain::image::ImageRate;
use domain::kill_switch::Target as Stopped;
use domain::model::{ModelFacts, Quantization};
use domain::price::{LongContextRates, PriceSource, Rates, TierRates};
use domain::rate_limit::Rate;
use domain::route::{Node, Rules, Target, Timeouts};
use domain::secret::{Kid, TokenMac};
use domain::{
    BaseModel, BudgetId, CredentialId, DeploymentId, EnvironmentId, KillSwitchId, ModelName, ModelPattern,
    OrganizationId, PriceId, RateLimitId, RouteId, Timestamp, VirtualKeyId, WorkspaceId,
};

/// The kinds of resources, in the order in which they are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The tenant itself.
    Organization = 1,
    /// An isolation unit.
    Workspace = 2,
    /// A named stage of a workspace.
    Environment = 3,
    /// What clients present.
    VirtualKey = 4,
    /// A sealed provider secret.
    Credential = 5,
    /// One thing that can serve.
    Deployment = 6,
    /// Targets under a model name.
    Route = 7,
    /// A dated price.
    Price = 8,
    /// How much may be spent on something.
    Budget = 9,
    /// How much in what span of time.
    RateLimit = 10,
    /// Something that is stopped.
    KillSwitch = 11,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 11] = [
        Self::Organization,
        Self::Workspace,
        Self::Environment,
        Self::VirtualKey,
        Self::Credential,
        Self::Deployment,
        Self::Route,
        Self::Price,
        Self::Budget,
        Self::RateLimit,
        Self::KillSwitch,
    ];

    /// Says whether a node that does not understand the kind may serve without it. What decides about access may not be withheld.
    #[must_use]
    pub const fn may_be_withheld(self) -> bool {
        matches!(self, Self::Price)
    }

    /// Returns the name that logs and problems use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Workspace => "workspace",
            Self::Environment => "environment",
            Self::VirtualKey => "virtual_key",
            Self::Credential => "credential",
            Self::Deployment => "deployment",
            Self::Route => "route",
            Self::Price => "price",
            Self::Budget => "budget",
            Self::RateLimit => "rate_limit",
            Self::KillSwitch => "kill_switch",
        }
    }
}

/// Names one resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// What it is.
    pub kind: Kind,
    /// The value of its typed id.
    pub id: u128,
}

impl ResourceKey {
    /// Parses the text form of the id of a resource of `kind`.
    #[must_use]
    pub fn parse(kind: Kind, id: &str) -> Option<Self> {
        let id = match kind {
            Kind::Organization => id.parse().ok().map(OrganizationId::as_uuid),
            Kind::Workspace => id.parse().ok().map(WorkspaceId::as_uuid),
            Kind::Environment => id.parse().ok().map(EnvironmentId::as_uuid),
            Kind::VirtualKey => id.parse().ok().map(VirtualKeyId::as_uuid),
            Kind::Credential => id.parse().ok().map(CredentialId::as_uuid),
            Kind::Deployment => id.parse().ok().map(DeploymentId::as_uuid),
            Kind::Route => id.parse().ok().map(RouteId::as_uuid),
            Kind::Price => id.parse().ok().map(PriceId::as_uuid),
            Kind::Budget => id.parse().ok().map(BudgetId::as_uuid),
            Kind::RateLimit => id.parse().ok().map(RateLimitId::as_uuid),
            Kind::KillSwitch => id.parse().ok().map(KillSwitchId::as_uuid),
        }?;
        Some(Self { kind, id })
    }

    /// Returns the typed id's text form.
    #[must_use]
    pub fn id_text(&self) -> String {
        match self.kind {
            Kind::Organization => OrganizationId::from_uuid(self.id).to_string(),
            Kind::Workspace => WorkspaceId::from_uuid(self.id).to_string(),
            Kind::Environment => EnvironmentId::from_uuid(self.id).to_string(),
            Kind::VirtualKey => VirtualKeyId::from_uuid(self.id).to_string(),
            Kind::Credential => CredentialId::from_uuid(self.id).to_string(),
            Kind::Deployment => DeploymentId::from_uuid(self.id).to_string(),
            Kind::Route => RouteId::from_uuid(self.id).to_string(),
            Kind::Price => PriceId::from_uuid(self.id).to_string(),
            Kind::Budget => BudgetId::from_uuid(self.id).to_string(),
            Kind::RateLimit => RateLimitId::from_uuid(self.id).to_string(),
            Kind::KillSwitch => KillSwitchId::from_uuid(self.id).to_string(),
        }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id_text())
    }
}

impl fmt::Debug for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One resource as it is hashed, sent and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub key: ResourceKey,
    /// The tenant it belongs to.
    pub organization: OrganizationId,
    /// The workspace it belongs to; `None` for what belongs to the organization as a whole.
    pub workspace: Option<WorkspaceId>,
    /// The encoded message of its kind.
    pub content: Bytes,
}

/// What a resource's bytes mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// See [`Organization`].
    Organization(Organization),
    /// See [`Workspace`].
    Workspace(Workspace),
    /// See [`Environment`].
    Environment(Environment),
    /// See [`VirtualKey`].
    VirtualKey(VirtualKey),
    /// See [`Credential`].
    Credential(Credential),
    /// See [`Deployment`].
    Deployment(Deployment),
    /// See [`Route`].
    Route(Route),
    /// See [`Price`].
    Price(Price),
    /// See [`Budget`].
    Budget(Budget),
    /// See [`RateLimit`].
    RateLimit(RateLimit),
    /// See [`KillSwitch`].
    KillSwitch(KillSwitch),
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its short name.
    pub slug: String,
    /// How long keys and credentials may be used without word from the control plane.
    pub max_stale: Duration,
    /// How long answers of the responses surface are kept for later calls; zero keeps none.
    pub response_retention: Duration,
    /// Peppers of virtual keys, sealed with the data key at [`pepper_place`].
    pub key_peppers: Vec<SealedSecret>,
}

/// Returns the associated data of a sealed pepper.
#[must_use]
pub fn pepper_place(organization: OrganizationId, version: u32) -> String {
    format!("v1|{organization}|key-pepper|{version}")
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its short name.
    pub slug: String,
}

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// Its parent.
    pub workspace: WorkspaceId,
    /// Its short name, such as `production`.
    pub slug: String,
}

/// Whether a virtual key may be used. Expiry is not a status: nodes compare the time themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// It may.
    Active,
    /// It must not be.
    Revoked,
}

/// What a client presents, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualKey {
    /// Its id.
    pub id: VirtualKeyId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// The stage it belongs to.
    pub environment: EnvironmentId,
    /// Its name for people.
    pub name: String,
    /// Whether it may be used.
    pub status: KeyStatus,
    /// The public part of the token, by which it is looked up.
    pub kid: Kid,
    /// One, or two while a rotation overlaps; 1 to [`VirtualKey::MAX_SECRETS`].
    pub secrets: Vec<KeySecret>,
    /// Models it may use; `None` is every model of the workspace.
    pub models: Option<Vec<ModelPattern>>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl VirtualKey {
    /// More secrets than this under one key are refused.
    pub const MAX_SECRETS: usize = 4;

    /// Says whether the key may call `model`.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(model)))
    }
}

/// One accepted secret of a virtual key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySecret {
    /// The pepper under which the MAC was made.
    pub pepper_version: u32,
    /// HMAC-SHA-256(pepper, organization id, 0, token).
    pub mac: TokenMac,
    /// When this secret ends; a rotated one ends before its key.
    pub retires_at: Option<Timestamp>,
}

/// A value sealed with the organization's data key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Version of the value; part of the associated data.
    pub version: u32,
    /// Version of the data key.
    pub data_key_version: u32,
    /// Nonce, ciphertext and tag.
    pub sealed: Bytes,
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret(v{}, data key {})", self.version, self.data_key_version)
    }
}

/// A provider secret and where it may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// The provider's registered name.
    pub provider: String,
    /// Its name for people.
    pub name: String,
    /// The only address the secret may be sent to.
    pub base_url: String,
    /// `None` for upstreams that want none. Sealed at `domain::credential::seal_context`.
    pub secret: Option<SealedSecret>,
    /// Whether calls to the provider's own API may be signed with it.
    pub allows_passthrough: bool,
    /// What the provider does with what is sent, if that was said.
    pub data_policy: Option<DataPolicy>,
}

/// Provider, upstream model and credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// The public name.
    pub name: ModelName,
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
    /// `None` for providers that need none.
    pub credential: Option<CredentialId>,
    /// Whether it takes part in routing.
    pub is_enabled: bool,
}

/// Targets under a model name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// Where it belongs.
    pub workspace: WorkspaceId,
    /// The public name.
    pub name: ModelName,
    /// What may serve it; empty when there is a tree.
    pub targets: Vec<Target>,
    /// How one of them is chosen.
    pub tree: Option<Node>,
    /// Attempts over all targets; at least 1.
    pub max_attempts: u16,
    /// Deadlines of the whole call.
    pub timeouts: Timeouts,
    /// What happens beyond choosing.
    pub rules: Rules,
}

/// What a model costs from a date on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Its id; usage events name it.
    pub id: PriceId,
    /// The provider's registered name.
    pub provider: String,
    /// The model's name at the provider.
    pub upstream_model: String,
    /// From when it holds.
    pub effective_at: Timestamp,
    /// Where it came from; own prices go before those of the catalog.
    pub source: PriceSource,
    /// The rates.
    pub rates: Rates,
    /// Rates for long contexts, ascending by bound.
    pub long_context: Vec<LongContextRates>,
    /// Rates of other tiers of service.
    pub tiers: Vec<TierRates>,
    /// What pictures of a kind cost.
    pub images: Vec<ImageRate>,
}

/// How much may be spent on something. One that is switched off is not among the resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// The only workspace whose calls count; `None` for all. The resource belongs to the organization either way.
    pub workspace: Option<WorkspaceId>,
    /// Its name for people.
    pub name: String,
    /// What is counted.
    pub measure: Measure,
    /// What happens at the end.
    pub enforcement: Enforcement,
    /// What happens while the control plane cannot be asked.
    pub when_unreachable: WhenUnreachable,
    /// Which calls count.
    pub subject: Subject,
    /// By what accounts are kept apart; the order is that of the group key.
    pub group_by: Vec<Dimension>,
    /// The amounts, each window at most once.
    pub limits: Vec<Limit>,
}

/// How much in what span of time. One that is switched off is not among the resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Its id.
    pub id: RateLimitId,
    /// The only workspace whose calls count; `None` for all. The resource belongs to the organization either way.
    pub workspace: Option<WorkspaceId>,
    /// Its name for people.
    pub name: String,
    /// Which calls count.
    pub subject: Subject,
    /// By what counters are kept apart; the order is that of the group key.
    pub group_by: Vec<Dimension>,
    /// The amounts, each measure and span at most once.
    pub rates: Vec<Rate>,
}

/// Something that is stopped. One that was lifted is not among the resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillSwitch {
    /// Its id.
    pub id: KillSwitchId,
    /// What is stopped.
    pub target: Stopped,
    /// Whether calls under way are cut, too.
    pub is_cutting: bool,
}

impl Content {
    /// Returns the key of the resource that holds this content.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        let (kind, id) = match self {
            Self::Organization(it) => (Kind::Organization, it.id.as_uuid()),
            Self::Workspace(it) => (Kind::Workspace, it.id.as_uuid()),
            Self::Environment(it) => (Kind::Environment, it.id.as_uuid()),
            Self::VirtualKey(it) => (Kind::VirtualKey, it.id.as_uuid()),
            Self::Credential(it) => (Kind::Credential, it.id.as_uuid()),
            Self::Deployment(it) => (Kind::Deployment, it.id.as_uuid()),
            Self::Route(it) => (Kind::Route, it.id.as_uuid()),
            Self::Price(it) => (Kind::Price, it.id.as_uuid()),
            Self::Budget(it) => (Kind::Budget, it.id.as_uuid()),
            Self::RateLimit(it) => (Kind::RateLimit, it.id.as_uuid()),
            Self::KillSwitch(it) => (Kind::KillSwitch, it.id.as_uuid()),
        };
        ResourceKey { kind, id }
    }

    /// Returns the workspace that the resource belongs to.
    #[must_use]
    pub const fn workspace(&self) -> Option<WorkspaceId> {
        match self {
            Self::Organization(_)
            | Self::Credential(_)
            | Self::Price(_)
            | Self::Budget(_)
            | Self::RateLimit(_)
            | Self::KillSwitch(_) => None,
            Self::Workspace(it) => Some(it.id),
            Self::Environment(it) => Some(it.workspace),
            Self::VirtualKey(it) => Some(it.workspace),
            Self::Deployment(it) => Some(it.workspace),
            Self::Route(it) => Some(it.workspace),
        }
    }
}

// === From stored entities ===

impl From<&domain::workspace::Workspace> for Workspace {
    fn from(it: &domain::workspace::Workspace) -> Self {
        Self { id: it.id, slug: it.slug.to_string() }
    }
}

impl From<&domain::environment::Environment> for Environment {
    fn from(it: &domain::environment::Environment) -> Self {
        Self { id: it.id, workspace: it.workspace_id, slug: it.slug.to_string() }
    }
}

impl From<&domain::virtual_key::VirtualKey> for VirtualKey {
    fn from(it: &domain::virtual_key::VirtualKey) -> Self {
        let secret = |secret: &domain::virtual_key::KeySecret| KeySecret {
            pepper_version: u32::from(secret.pepper_version),
            mac: secret.mac,
            retires_at: secret.retires_at,
        };
        Self {
            id: it.id,
            workspace: it.workspace_id,
            environment: it.environment_id,
            name: it.name.to_string(),
            status: if it.revoked_at.is_some() { KeyStatus::Revoked } else { KeyStatus::Active },
            kid: it.kid,
            secrets: it.secrets.iter().map(secret).collect(),
            models: (!it.allowed_models.is_empty()).then(|| it.allowed_models.clone()),
            expires_at: it.expires_at,
        }
    }
}

impl From<&domain::credential::Credential> for Credential {
    fn from(it: &domain::credential::Credential) -> Self {
        let secret = it.secret.as_ref().map(|sealed| SealedSecret {
            version: it.secret_version,
            data_key_version: u32::from(sealed.key_version),
            sealed: Bytes::copy_from_slice(&sealed.ciphertext),
        });
        Self {
            id: it.id,
            provider: it.provider.clone(),
            name: it.name.to_string(),
            base_url: it.base_url.clone(),
            secret,
            allows_passthrough: it.allows_passthrough,
            data_policy: it.data_policy,
        }
    }
}

impl From<&domain::deployment::Deployment> for Deployment {
    fn from(it: &domain::deployment::Deployment) -> Self {
        Self {
            id: it.id,
            workspace: it.workspace_id,
            name: it.name.clone(),
            provider: it.provider.clone(),
            upstream_model: it.upstream_model.clone(),
            base_model: it.base_model.clone(),
            facts: None,
            quantization: None,
            credential: it.credential_id,
            is_enabled: it.is_enabled,
        }
    }
}

impl From<&domain::route::Route> for Route {
    fn from(it: &domain::route::Route) -> Self {
        Self {
            id: it.id,
            workspace: it.workspace_id,
            name: it.name.clone(),
            targets: it.targets.clone(),
            tree: it.tree.clone(),
            max_attempts: it.max_attempts,
            timeouts: it.timeouts,
            rules: it.rules.clone(),
        }
    }
}

impl From<&domain::rate_limit::RateLimit> for RateLimit {
    fn from(it: &domain::rate_limit::RateLimit) -> Self {
        Self {
            id: it.id,
            workspace: it.workspace_id,
            name: it.name.to_string(),
            subject: it.subject.clone(),
            group_by: it.group_by.clone(),
            rates: it.rates.clone(),
        }
    }
}

impl From<&domain::kill_switch::KillSwitch> for KillSwitch {
    fn from(it: &domain::kill_switch::KillSwitch) -> Self {
        Self { id: it.id, target: it.target.clone(), is_cutting: it.is_cutting }
    }
}

impl From<&domain::budget::Budget> for Budget {
    fn from(it: &domain::budget::Budget) -> Self {
        Self {
            id: it.id,
            workspace: it.workspace_id,
            name: it.name.to_string(),
            measure: it.measure,
            enforcement: it.enforcement,
            when_unreachable: it.when_unreachable,
            subject: it.subject.clone(),
            group_by: it.group_by.clone(),
            limits: it.limits.clone(),
        }
    }
}

impl From<&domain::price::PriceVersion> for Price {
    fn from(it: &domain::price::PriceVersion) -> Self {
        Self {
            id: it.id,
            provider: it.provider.clone(),
            upstream_model: it.upstream_model.clone(),
            effective_at: it.effective_at,
            source: it.source,
            rates: it.rates,
            long_context: it.long_context.clone(),
            tiers: it.tiers.clone(),
            images: it.images.clone(),
        }
    }
}
