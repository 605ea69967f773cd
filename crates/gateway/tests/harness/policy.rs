//! A small organization: one workspace, one key, deployments on the scripted upstreams, routes over them.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::credential::DataPolicy;
use domain::model::{ModelFacts, Quantization};
use domain::price::{PriceSource, Rates};
use domain::rng::SeededEntropy;
use domain::route::{Target, Timeouts};
use domain::{
    CredentialId, DeploymentId, EnvironmentId, ModelName, ModelPattern, OrganizationId, Price as Rate, PriceId,
    RouteId, Timestamp, TokenKind, TokenSecret, VirtualKeyId, WorkspaceId,
};
use policy::compile::{Input, compile};
use policy::resource::{
    Credential, Deployment, Environment, KeySecret, KeyStatus, Organization, Price, Route, SealedSecret, VirtualKey,
    Workspace, pepper_place,
};
use policy::testing::{PEPPER, TestOpener, seal};
use policy::{Content, ResourceSet, Snapshot, wire};

pub(crate) const ORG: OrganizationId = OrganizationId::from_uuid(1);
pub(crate) const WORKSPACE: WorkspaceId = WorkspaceId::from_uuid(2);
const ENVIRONMENT: EnvironmentId = EnvironmentId::from_uuid(3);
pub(crate) const KEY: VirtualKeyId = VirtualKeyId::from_uuid(4);
/// What upstreams must get in place of the client's key.
pub(crate) const SECRET: &str = "sk-upstream-canary";

/// The resources of one test.
#[derive(Clone)]
pub(crate) struct World {
    pub contents: Vec<Content>,
    pub key: VirtualKey,
    pub confirmed_at: Timestamp,
    /// How many of the resources cannot be used.
    pub n_bad: usize,
}

/// The token of the standard key.
pub(crate) fn token() -> TokenSecret {
    TokenSecret::generate(TokenKind::VirtualKey, 'd', &SeededEntropy::new(11))
}

/// Finds the id of a deployment by the number it was made with.
pub(crate) const fn deployment_id(n: u128) -> DeploymentId {
    DeploymentId::from_uuid(100 + n)
}

fn name(text: &str) -> ModelName {
    ModelName::parse(text).expect("a valid model name")
}

impl World {
    /// `gpt` on OpenAI at `openai.test`, `claude` on Anthropic at `anthropic.test`, `gemini` at `gemini.test`, `echo/echo-1`
    /// built in, and the route
    /// `chain` over three OpenAI deployments at `a.test`, `b.test` and `c.test` in that order.
    pub(crate) fn standard() -> Self {
        let mut world = Self::empty();
        world.deployment(1, "gpt", "openai", "http://openai.test/v1");
        world.deployment(2, "claude", "anthropic", "http://anthropic.test");
        world.deployment(3, "echo/echo-1", "echo", "");
        world.deployment(4, "chain-a", "openai", "http://a.test/v1");
        world.deployment(5, "chain-b", "openai", "http://b.test/v1");
        world.deployment(6, "chain-c", "openai_compatible", "http://c.test/v1");
        world.route(1, "chain", &[4, 5, 6], 3, Timeouts::default());
        world.deployment(7, "echo/echo-embed", "echo", "");
        world.deployment(8, "gemini", "gemini", "http://gemini.test");
        world
    }

    pub(crate) fn empty() -> Self {
        let pepper = SealedSecret { version: 1, data_key_version: 1, sealed: seal(&pepper_place(ORG, 1), &PEPPER) };
        let mac = token().mac(&PEPPER, &ORG.to_string());
        let key = VirtualKey {
            id: KEY,
            workspace: WORKSPACE,
            environment: ENVIRONMENT,
            name: "test".to_owned(),
            status: KeyStatus::Active,
            kid: token().kid(),
            secrets: vec![KeySecret { pepper_version: 1, mac, retires_at: None }],
            models: None,
            expires_at: None,
        };
        let contents = vec![
            Content::Organization(Organization {
                id: ORG,
                slug: "org".to_owned(),
                max_stale: std::time::Duration::from_secs(86_400),
                response_retention: std::time::Duration::from_secs(86_400),
                key_peppers: vec![pepper],
            }),
            Content::Workspace(Workspace { id: WORKSPACE, slug: "ws".to_owned() }),
            Content::Environment(Environment { id: ENVIRONMENT, workspace: WORKSPACE, slug: "development".to_owned() }),
        ];
        Self { contents, key, confirmed_at: super::START.parse().expect("a valid instant"), n_bad: 0 }
    }

    /// Adds a deployment with a credential and a price of its own: $1 a million for input, $2 for output. Its upstream model is
    /// `up-<n>`.
    pub(crate) fn deployment(&mut self, n: u128, model: &str, provider: &str, base_url: &str) {
        self.deployment_with(n, model, provider, base_url, SECRET);
    }

    /// Adds a deployment whose credential has this secret.
    pub(crate) fn deployment_with(&mut self, n: u128, model: &str, provider: &str, base_url: &str, secret: &str) {
        let upstream_model =
            if provider == "echo" { model.trim_start_matches("echo/").to_owned() } else { format!("up-{n}") };
        let credential = (!base_url.is_empty()).then(|| CredentialId::from_uuid(200 + n));
        if let Some(id) = credential {
            let sealed = seal(&domain::credential::seal_context(ORG, id, 1), secret.as_bytes());
            self.contents.push(Content::Credential(Credential {
                id,
                provider: provider.to_owned(),
                name: format!("credential {n}"),
                base_url: base_url.to_owned(),
                secret: Some(SealedSecret { version: 1, data_key_version: 1, sealed }),
                allows_passthrough: false,
                data_policy: None,
            }));
        }
        self.contents.push(Content::Deployment(Deployment {
            id: deployment_id(n),
            workspace: WORKSPACE,
            name: name(model),
            provider: provider.to_owned(),
            upstream_model: upstream_model.clone(),
            base_model: None,
            facts: None,
            quantization: None,
            credential,
            is_enabled: true,
        }));
        self.price(300 + n, provider, &upstream_model, (1, 2));
    }

    /// Adds the catalog's price of a model, in dollars per million tokens of input and output.
    fn price(&mut self, id: u128, provider: &str, upstream_model: &str, (input, output): (i64, i64)) {
        let dollars = |dollars: i64| Rate::per_million(dollars * 1_000_000_000);
        self.contents.push(Content::Price(Price {
            id: PriceId::from_uuid(id),
            provider: provider.to_owned(),
            upstream_model: upstream_model.to_owned(),
            effective_at: Timestamp::from_micros(0),
            source: PriceSource::Catalog,
            rates: Rates { input: dollars(input), output: dollars(output), ..Rates::default() },
            long_context: Vec::new(),
            tiers: Vec::new(),
            images: Vec::new(),
        }));
    }

    /// Says what a model of a deployment is, and how its numbers are held.
    pub(crate) fn describe(&mut self, n: u128, facts: Option<&ModelFacts>, quantization: Option<Quantization>) {
        for content in &mut self.contents {
            if let Content::Deployment(deployment) = content
                && deployment.id == deployment_id(n)
            {
                deployment.facts = facts.cloned().map(Arc::new);
                deployment.quantization = quantization;
            }
        }
    }

    /// Says what the provider of a deployment does with what it is sent.
    pub(crate) fn data_policy(&mut self, n: u128, policy: DataPolicy) {
        for content in &mut self.contents {
            if let Content::Credential(credential) = content
                && credential.id == CredentialId::from_uuid(200 + n)
            {
                credential.data_policy = Some(policy);
            }
        }
    }

    /// Says which model of the catalog a deployment really is, and gives that one a price of its own: $3 a million for input, $6 for
    /// output.
    pub(crate) fn base_model(&mut self, n: u128, base: &str) {
        let base: domain::BaseModel = base.parse().expect("provider/name");
        let (provider, name) = base.parts();
        self.price(350 + n, provider, name, (3, 6));
        for content in &mut self.contents {
            if let Content::Deployment(deployment) = content
                && deployment.id == deployment_id(n)
            {
                deployment.base_model = Some(base.clone());
            }
        }
    }

    /// Makes the price of a deployment's very name the organization's own.
    pub(crate) fn own_price(&mut self, n: u128) {
        for content in &mut self.contents {
            if let Content::Price(price) = content
                && price.id == PriceId::from_uuid(300 + n)
            {
                price.source = PriceSource::Own;
            }
        }
    }

    /// Adds a route over deployments in order of priority.
    pub(crate) fn route(&mut self, n: u128, model: &str, deployments: &[u128], max_attempts: u16, timeouts: Timeouts) {
        let target = |(priority, n): (usize, &u128)| Target {
            deployment_id: deployment_id(*n),
            priority: u16::try_from(priority).expect("few targets"),
            weight: 1,
        };
        self.contents.push(Content::Route(Route {
            id: RouteId::from_uuid(400 + n),
            workspace: WORKSPACE,
            name: name(model),
            targets: deployments.iter().enumerate().map(target).collect(),
            tree: None,
            max_attempts,
            timeouts,
            rules: domain::route::Rules::default(),
        }));
    }

    /// Adds a route with a tree and rules.
    pub(crate) fn tree(&mut self, n: u128, model: &str, tree: domain::route::Node, rules: domain::route::Rules) {
        self.contents.push(Content::Route(Route {
            id: RouteId::from_uuid(400 + n),
            workspace: WORKSPACE,
            name: name(model),
            targets: Vec::new(),
            tree: Some(tree),
            max_attempts: 3,
            timeouts: Timeouts::default(),
            rules,
        }));
    }

    /// Has answers of the responses surface kept this long.
    pub(crate) fn keep_responses(&mut self, retention: std::time::Duration) {
        for content in &mut self.contents {
            if let Content::Organization(organization) = content {
                organization.response_retention = retention;
            }
        }
    }

    pub(crate) fn allow(&mut self, pattern: &str) {
        self.key.models.get_or_insert_default().push(ModelPattern::parse(pattern).expect("a valid pattern"));
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut contents = self.contents.clone();
        contents.push(Content::VirtualKey(self.key.clone()));
        let resources = contents.iter().map(|content| wire::encode(ORG, content)).collect();
        let (previous, before, denied) = (Snapshot::default(), ResourceSet::empty(ORG), BTreeSet::new());
        let after = ResourceSet::from_resources(ORG, resources).expect("a valid set");
        let touched: Vec<_> = after.iter().map(|resource| resource.location()).collect();
        let snapshot = compile(Input {
            previous: &previous,
            before: &before,
            after: &after,
            revision: 7,
            set_hash: after.hash(),
            touched: &touched,
            denied: &denied,
            opener: &TestOpener,
        });
        let organization = Arc::clone(snapshot.organization(ORG).expect("is compiled"));
        assert_eq!(organization.bad_resources().count(), self.n_bad, "the test's policy compiles");
        organization.freshness.confirm(self.confirmed_at);
        snapshot
    }
}
