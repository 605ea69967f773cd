//! A small organization for tests, with a signer and an opener that need no cryptography. Never part of a release build.

use bytes::Bytes;
use domain::price::{PriceSource, Rates};
use domain::rng::SeededEntropy;
use domain::route::{Target, Timeouts};
use domain::{
    CredentialId, DeploymentId, EnvironmentId, ModelName, OrganizationId, Price as Rate, PriceId, RouteId, Secret,
    Timestamp, TokenKind, TokenSecret, VirtualKeyId, WorkspaceId,
};
use sha2::{Digest as _, Sha256};

use crate::compile::SecretOpener;
use crate::resource::{
    Content, Credential, Deployment, Environment, KeySecret, KeyStatus, Organization, Price, Resource, Route,
    SealedSecret, VirtualKey, Workspace,
};
use crate::set::ResourceSet;
use crate::sign::{Revision, Signed, Signer, Verifier};
use crate::wire;

/// The pepper of every test organization.
pub const PEPPER: [u8; 32] = [7; 32];

/// Signs with a digest under one byte of key. Not a signature; flips and strangers are noticed all the same.
#[derive(Debug, Clone, Copy)]
pub struct TestSigner(pub u8);

impl Signer for TestSigner {
    fn key_id(&self) -> &'static str {
        "test"
    }

    fn sign(&self, statement: &[u8]) -> [u8; 64] {
        let digest = Sha256::new().chain_update([self.0]).chain_update(statement).finalize();
        let mut out = [0; 64];
        out[..32].copy_from_slice(&digest);
        out[32..].copy_from_slice(&digest);
        out
    }
}

impl Verifier for TestSigner {
    fn verify(&self, key_id: &str, statement: &[u8], signature: &[u8]) -> bool {
        key_id == self.key_id() && signature == self.sign(statement)
    }
}

/// "Opens" what [`seal`] made: checks the place, hides nothing.
#[derive(Debug, Clone, Copy)]
pub struct TestOpener;

/// "Seals": a digest of the place in the first 28 bytes, then the text.
#[must_use]
pub fn seal(place: &str, plain: &[u8]) -> Bytes {
    let mut out = Sha256::digest(place.as_bytes())[..28].to_vec();
    out.extend(plain);
    out.into()
}

impl SecretOpener for TestOpener {
    fn open(&self, _: OrganizationId, _: u32, place: &str, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let (mark, plain) = sealed.split_at_checked(28)?;
        (mark == &Sha256::digest(place.as_bytes())[..28]).then(|| Secret::new(plain.to_vec()))
    }
}

/// Numbers of a test organization; every id derives from them.
#[derive(Debug, Clone, Copy)]
pub struct TestOrganization(pub u128);

impl TestOrganization {
    /// Its id.
    #[must_use]
    pub const fn id(self) -> OrganizationId {
        OrganizationId::from_uuid(self.0)
    }

    /// Its workspace number `n`.
    #[must_use]
    pub const fn workspace(self, n: u128) -> WorkspaceId {
        WorkspaceId::from_uuid(self.0 * 1_000 + n)
    }

    /// The organization resource.
    #[must_use]
    pub fn organization(self) -> Content {
        let pepper = SealedSecret {
            version: 1,
            data_key_version: 1,
            sealed: seal(&crate::resource::pepper_place(self.id(), 1), &PEPPER),
        };
        let max_stale = domain::organization::Organization::DEFAULT_MAX_STALE;
        Content::Organization(Organization {
            id: self.id(),
            slug: format!("org-{}", self.0),
            max_stale,
            response_retention: domain::organization::Organization::DEFAULT_RESPONSE_RETENTION,
            key_peppers: vec![pepper],
        })
    }

    /// Workspace `n` with its environment, a credential, two deployments, a route over both, and a price: everything but keys.
    #[must_use]
    pub fn contents(self, n: u128) -> Vec<Content> {
        let workspace = self.workspace(n);
        let seal_place = domain::credential::seal_context(self.id(), self.credential(n), 1);
        let rates =
            Rates { input: Rate::per_million(1_000_000), output: Rate::per_million(2_000_000), ..Rates::default() };
        vec![
            self.organization(),
            Content::Workspace(Workspace { id: workspace, slug: format!("ws-{n}") }),
            Content::Environment(Environment { id: self.environment(n), workspace, slug: "development".to_owned() }),
            Content::Credential(Credential {
                id: self.credential(n),
                provider: "openai".to_owned(),
                name: "main".to_owned(),
                base_url: "https://api.example.com/v1".to_owned(),
                secret: Some(SealedSecret { version: 1, data_key_version: 1, sealed: seal(&seal_place, b"sk-canary") }),
                allows_passthrough: false,
                data_policy: None,
            }),
            self.deployment(n, 1),
            self.deployment(n, 2),
            Content::Route(Route {
                id: RouteId::from_uuid(self.0 * 1_000 + n),
                workspace,
                name: name("chat"),
                targets: [1, 2]
                    .map(|m| Target { deployment_id: self.deployment_id(n, m), priority: 0, weight: 1 })
                    .to_vec(),
                tree: None,
                max_attempts: 2,
                timeouts: Timeouts::default(),
                rules: domain::route::Rules::default(),
            }),
            Content::Price(Price {
                id: PriceId::from_uuid(self.0 * 1_000 + n),
                provider: "openai".to_owned(),
                upstream_model: "model-1".to_owned(),
                effective_at: Timestamp::from_micros(0),
                source: PriceSource::Catalog,
                rates,
                long_context: Vec::new(),
                tiers: Vec::new(),
                images: Vec::new(),
            }),
        ]
    }

    /// The environment of workspace `n`.
    #[must_use]
    pub const fn environment(self, n: u128) -> EnvironmentId {
        EnvironmentId::from_uuid(self.0 * 1_000 + n)
    }

    /// The credential made with workspace `n`.
    #[must_use]
    pub const fn credential(self, n: u128) -> CredentialId {
        CredentialId::from_uuid(self.0 * 1_000 + n)
    }

    /// Deployment `m` of workspace `n`.
    #[must_use]
    pub const fn deployment_id(self, n: u128, m: u128) -> DeploymentId {
        DeploymentId::from_uuid((self.0 * 1_000 + n) * 10 + m)
    }

    /// Deployment `m` of workspace `n`, named `model-m`.
    #[must_use]
    pub fn deployment(self, n: u128, m: u128) -> Content {
        Content::Deployment(Deployment {
            id: self.deployment_id(n, m),
            workspace: self.workspace(n),
            name: name(&format!("model-{m}")),
            provider: "openai".to_owned(),
            upstream_model: format!("model-{m}"),
            base_model: None,
            facts: None,
            quantization: None,
            credential: Some(self.credential(n)),
            is_enabled: true,
        })
    }

    /// The token of key `k`.
    #[must_use]
    pub fn token(self, k: u64) -> TokenSecret {
        TokenSecret::generate(TokenKind::VirtualKey, 'd', &SeededEntropy::new(k.wrapping_mul(7_919).wrapping_add(1)))
    }

    /// Key `k` in workspace `n`.
    #[must_use]
    pub fn key(self, n: u128, k: u64) -> VirtualKey {
        let token = self.token(k);
        let mac = token.mac(&PEPPER, &self.id().to_string());
        VirtualKey {
            id: VirtualKeyId::from_uuid(self.0 * 1_000_000_000 + u128::from(k)),
            workspace: self.workspace(n),
            environment: self.environment(n),
            name: format!("key {k}"),
            status: KeyStatus::Active,
            kid: token.kid(),
            secrets: vec![KeySecret { pepper_version: 1, mac, retires_at: None }],
            models: None,
            expires_at: None,
        }
    }

    /// Encodes contents as resources of this organization.
    #[must_use]
    pub fn resources(self, contents: &[Content]) -> Vec<Resource> {
        contents.iter().map(|content| wire::encode(self.id(), content)).collect()
    }

    /// States and signs that `set` is revision `number`.
    #[must_use]
    pub fn sign(self, set: &ResourceSet, number: u64, signer: &dyn Signer) -> Signed<Revision> {
        let statement = Revision {
            organization: self.id(),
            number,
            issued_at: Timestamp::from_micros(i64::try_from(number).unwrap_or(i64::MAX)),
            set_hash: set.hash(),
            resource_count: set.len(),
            flags: 0,
        };
        Signed::new(statement, signer)
    }
}

#[expect(clippy::expect_used, reason = "test support: the names are literals")]
fn name(text: &str) -> ModelName {
    ModelName::parse(text).expect("a valid model name")
}
