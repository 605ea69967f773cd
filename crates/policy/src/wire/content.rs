//! Contents of resources: bytes ⇄ [`Content`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::credential::DataPolicy;
use domain::image::{ImageKind, ImageRate};
use domain::model::{Capability, Modality, ModelFacts, ModelKind, Quantization};
use domain::price::{LongContextRates, ModalRates, PriceSource, Rates, ServiceTier, TierRates, UnitRates};
use domain::route::{Document, Node, Rules, Target, Timeouts};
use domain::secret::{Kid, TokenMac};
use domain::{BaseModel, ModelName, ModelPattern, OrganizationId, Price as Rate, Timestamp};
use prost::Message;
use proto::v1;

use super::{Reason, WireError, bounded, budget, id, limit, narrow, optional_id, wrong};
use crate::resource::{
    Content, Credential, Deployment, Environment, KeySecret, KeyStatus, Kind, Organization, Price, Resource, Route,
    SealedSecret, VirtualKey, Workspace,
};

const MAX_TEXT: usize = 1_024;
const MAX_PATTERNS: usize = 1_000;
const MAX_SEALED: usize = 64 * 1_024;

/// Encodes a content into the resource that carries it.
#[must_use]
pub fn encode(organization: OrganizationId, content: &Content) -> Resource {
    let bytes = match content {
        Content::Organization(it) => organization_message(it).encode_to_vec(),
        Content::Workspace(it) => v1::Workspace { id: it.id.to_string(), slug: it.slug.clone() }.encode_to_vec(),
        Content::Environment(it) => {
            let (id, workspace_id) = (it.id.to_string(), it.workspace.to_string());
            v1::Environment { id, workspace_id, slug: it.slug.clone() }.encode_to_vec()
        }
        Content::VirtualKey(it) => virtual_key_message(it).encode_to_vec(),
        Content::Credential(it) => credential_message(it).encode_to_vec(),
        Content::Deployment(it) => deployment_message(it).encode_to_vec(),
        Content::Route(it) => route_message(it).encode_to_vec(),
        Content::Price(it) => price_message(it).encode_to_vec(),
        Content::Budget(it) => budget::encode(it).encode_to_vec(),
        Content::RateLimit(it) => limit::encode(it).encode_to_vec(),
        Content::KillSwitch(it) => limit::encode_switch(it).encode_to_vec(),
    };
    Resource { key: content.key(), organization, workspace: content.workspace(), content: Bytes::from(bytes) }
}

/// Decodes and validates a resource's content; also checks that it agrees with the resource's key and parents.
pub fn decode(resource: &Resource) -> Result<Content, WireError> {
    let bytes = resource.content.clone();
    let content = match resource.key.kind {
        Kind::Organization => Content::Organization(organization(message(bytes)?)?),
        Kind::Workspace => {
            let it: v1::Workspace = message(bytes)?;
            Content::Workspace(Workspace { id: id("id", &it.id)?, slug: bounded("slug", it.slug, MAX_TEXT)? })
        }
        Kind::Environment => {
            let it: v1::Environment = message(bytes)?;
            let (id, workspace) = (id("id", &it.id)?, id("workspace_id", &it.workspace_id)?);
            Content::Environment(Environment { id, workspace, slug: bounded("slug", it.slug, MAX_TEXT)? })
        }
        Kind::VirtualKey => Content::VirtualKey(virtual_key(message(bytes)?)?),
        Kind::Credential => Content::Credential(credential(message(bytes)?)?),
        Kind::Deployment => Content::Deployment(deployment(message(bytes)?)?),
        Kind::Route => Content::Route(route(&message(bytes)?)?),
        Kind::Price => Content::Price(price(message(bytes)?)?),
        Kind::Budget => Content::Budget(budget::decode(message(bytes)?)?),
        Kind::RateLimit => Content::RateLimit(limit::decode(message(bytes)?)?),
        Kind::KillSwitch => Content::KillSwitch(limit::decode_switch(&message(bytes)?)?),
    };
    if content.key() != resource.key {
        return Err(wrong("id", Reason::Mismatch));
    }
    if content.workspace() != resource.workspace {
        return Err(wrong("workspace_id", Reason::Mismatch));
    }
    Ok(content)
}

fn message<M: Message + Default>(bytes: Bytes) -> Result<M, WireError> {
    M::decode(bytes).map_err(|_| wrong("content", Reason::Encoding))
}

// === Organization ===

fn organization(it: v1::Organization) -> Result<Organization, WireError> {
    let max_stale =
        it.max_stale_ms.map_or(domain::organization::Organization::DEFAULT_MAX_STALE, Duration::from_millis);
    let response_retention = it
        .response_retention_ms
        .map_or(domain::organization::Organization::DEFAULT_RESPONSE_RETENTION, Duration::from_millis);
    let key_peppers =
        it.key_peppers.into_iter().map(|pepper| sealed("key_peppers", pepper)).collect::<Result<_, _>>()?;
    Ok(Organization {
        id: id("id", &it.id)?,
        slug: bounded("slug", it.slug, MAX_TEXT)?,
        max_stale,
        response_retention,
        key_peppers,
    })
}

fn organization_message(it: &Organization) -> v1::Organization {
    v1::Organization {
        id: it.id.to_string(),
        slug: it.slug.clone(),
        max_stale_ms: Some(u64::try_from(it.max_stale.as_millis()).unwrap_or(u64::MAX)),
        response_retention_ms: Some(u64::try_from(it.response_retention.as_millis()).unwrap_or(u64::MAX)),
        key_peppers: it.key_peppers.iter().map(sealed_message).collect(),
    }
}

fn sealed(field: &'static str, it: v1::SealedSecret) -> Result<SealedSecret, WireError> {
    // 12 bytes of nonce, 16 of tag, and at least one of content.
    if it.version == 0 || it.data_key_version == 0 || !(29..=MAX_SEALED).contains(&it.sealed.len()) {
        return Err(wrong(field, Reason::OutOfBounds));
    }
    Ok(SealedSecret { version: it.version, data_key_version: it.data_key_version, sealed: it.sealed })
}

fn sealed_message(it: &SealedSecret) -> v1::SealedSecret {
    v1::SealedSecret { version: it.version, data_key_version: it.data_key_version, sealed: it.sealed.clone() }
}

// === Virtual keys ===

fn virtual_key(it: v1::VirtualKey) -> Result<VirtualKey, WireError> {
    let status = match v1::KeyStatus::try_from(it.status) {
        Ok(v1::KeyStatus::Active) => KeyStatus::Active,
        Ok(v1::KeyStatus::Revoked) => KeyStatus::Revoked,
        Ok(v1::KeyStatus::Unspecified) => return Err(wrong("status", Reason::Missing)),
        Err(_) => return Err(wrong("status", Reason::Unknown)),
    };
    if !(1..=VirtualKey::MAX_SECRETS).contains(&it.secrets.len()) {
        return Err(wrong("secrets", Reason::OutOfBounds));
    }
    Ok(VirtualKey {
        id: id("id", &it.id)?,
        workspace: id("workspace_id", &it.workspace_id)?,
        environment: id("environment_id", &it.environment_id)?,
        name: it.name,
        status,
        kid: Kid::parse(&it.kid).ok_or(wrong("kid", Reason::Malformed))?,
        secrets: it.secrets.iter().map(key_secret).collect::<Result<_, _>>()?,
        models: it.models.map(|list| patterns(&list.patterns)).transpose()?,
        expires_at: it.expires_at_us.map(Timestamp::from_micros),
    })
}

fn key_secret(it: &v1::KeySecret) -> Result<KeySecret, WireError> {
    let mac = <[u8; 32]>::try_from(it.mac.as_ref()).map_err(|_| wrong("secrets.mac", Reason::OutOfBounds))?;
    if it.pepper_version == 0 {
        return Err(wrong("secrets.pepper_version", Reason::Missing));
    }
    let retires_at = it.retires_at_us.map(Timestamp::from_micros);
    Ok(KeySecret { pepper_version: it.pepper_version, mac: TokenMac::from_bytes(mac), retires_at })
}

fn patterns(list: &[String]) -> Result<Vec<ModelPattern>, WireError> {
    if list.len() > MAX_PATTERNS {
        return Err(wrong("models", Reason::OutOfBounds));
    }
    list.iter().map(|text| ModelPattern::parse(text).map_err(|_| wrong("models", Reason::Malformed))).collect()
}

fn virtual_key_message(it: &VirtualKey) -> v1::VirtualKey {
    let status = match it.status {
        KeyStatus::Active => v1::KeyStatus::Active,
        KeyStatus::Revoked => v1::KeyStatus::Revoked,
    };
    let secret = |secret: &KeySecret| v1::KeySecret {
        pepper_version: secret.pepper_version,
        mac: Bytes::copy_from_slice(secret.mac.as_bytes()),
        retires_at_us: secret.retires_at.map(Timestamp::as_micros),
    };
    v1::VirtualKey {
        id: it.id.to_string(),
        workspace_id: it.workspace.to_string(),
        environment_id: it.environment.to_string(),
        name: it.name.clone(),
        status: status.into(),
        kid: it.kid.to_string(),
        secrets: it.secrets.iter().map(secret).collect(),
        models: it
            .models
            .as_ref()
            .map(|list| v1::ModelAllowList { patterns: list.iter().map(ToString::to_string).collect() }),
        expires_at_us: it.expires_at.map(Timestamp::as_micros),
    }
}

// === Credentials and deployments ===

fn credential(it: v1::Credential) -> Result<Credential, WireError> {
    Ok(Credential {
        id: id("id", &it.id)?,
        provider: bounded("provider", it.provider, MAX_TEXT)?,
        name: it.name,
        base_url: if it.base_url.len() > MAX_TEXT {
            return Err(wrong("base_url", Reason::OutOfBounds));
        } else {
            it.base_url
        },
        secret: it.secret.map(|secret| sealed("secret", secret)).transpose()?,
        allows_passthrough: it.allows_passthrough,
        // A word of a later day promises nothing that this build knows.
        data_policy: it.data_policy.as_deref().and_then(DataPolicy::find),
    })
}

fn credential_message(it: &Credential) -> v1::Credential {
    v1::Credential {
        id: it.id.to_string(),
        provider: it.provider.clone(),
        name: it.name.clone(),
        base_url: it.base_url.clone(),
        secret: it.secret.as_ref().map(sealed_message),
        allows_passthrough: it.allows_passthrough,
        data_policy: it.data_policy.map(|policy| policy.to_string()),
    }
}

fn model_name(text: &str) -> Result<ModelName, WireError> {
    ModelName::parse(text).map_err(|_| wrong("name", if text.is_empty() { Reason::Missing } else { Reason::Malformed }))
}

fn deployment(it: v1::Deployment) -> Result<Deployment, WireError> {
    Ok(Deployment {
        id: id("id", &it.id)?,
        workspace: id("workspace_id", &it.workspace_id)?,
        name: model_name(&it.name)?,
        provider: bounded("provider", it.provider, MAX_TEXT)?,
        upstream_model: bounded("upstream_model", it.upstream_model, MAX_TEXT)?,
        base_model: base_model(it.base_model.as_deref())?,
        facts: it.facts.as_ref().and_then(facts).map(Arc::new),
        quantization: it.quantization.as_deref().and_then(Quantization::find),
        credential: optional_id("credential_id", it.credential_id.as_ref())?,
        is_enabled: it.enabled,
    })
}

fn deployment_message(it: &Deployment) -> v1::Deployment {
    v1::Deployment {
        id: it.id.to_string(),
        workspace_id: it.workspace.to_string(),
        name: it.name.to_string(),
        provider: it.provider.clone(),
        upstream_model: it.upstream_model.clone(),
        credential_id: it.credential.map(|id| id.to_string()),
        enabled: it.is_enabled,
        base_model: it.base_model.as_ref().map(ToString::to_string),
        facts: it.facts.as_deref().map(facts_message),
        quantization: it.quantization.map(|it| it.to_string()),
    }
}

/// Reads what is said of a model; nothing where its kind is of a later day than this build.
fn facts(it: &v1::ModelFacts) -> Option<ModelFacts> {
    let modalities = |words: &[String]| words.iter().filter_map(|word| Modality::find(word)).collect();
    Some(ModelFacts {
        kind: ModelKind::find(&it.kind)?,
        context_tokens: it.context_tokens,
        max_output_tokens: it.max_output_tokens,
        capabilities: it.capabilities.iter().filter_map(|word| Capability::find(word)).collect(),
        input: modalities(&it.input),
        output: modalities(&it.output),
        dimensions: it.dimensions,
    })
}

fn facts_message(it: &ModelFacts) -> v1::ModelFacts {
    let modalities = |list: &[Modality]| list.iter().map(ToString::to_string).collect();
    v1::ModelFacts {
        kind: it.kind.to_string(),
        context_tokens: it.context_tokens,
        max_output_tokens: it.max_output_tokens,
        capabilities: it.capabilities.iter().map(ToString::to_string).collect(),
        input: modalities(&it.input),
        output: modalities(&it.output),
        dimensions: it.dimensions,
    }
}

fn base_model(text: Option<&str>) -> Result<Option<BaseModel>, WireError> {
    text.map(str::parse).transpose().map_err(|_| wrong("base_model", Reason::Malformed))
}

// === Routes ===

fn route(it: &v1::Route) -> Result<Route, WireError> {
    if !(1..=domain::route::Route::MAX_TARGETS).contains(&it.targets.len()) {
        return Err(wrong("targets", Reason::OutOfBounds));
    }
    let max_attempts = narrow("max_attempts", it.max_attempts)?;
    if !(1..=domain::route::Route::MAX_ATTEMPTS).contains(&max_attempts) {
        return Err(wrong("max_attempts", Reason::OutOfBounds));
    }
    let tree: Option<Node> = it.tree.as_ref().map(|json| part("tree", json)).transpose()?;
    let rules: Rules = it.rules.as_ref().map(|json| part("rules", json)).transpose()?.unwrap_or_default();
    let target = |target: &v1::Target| {
        Ok(Target {
            deployment_id: id("targets.deployment_id", &target.deployment_id)?,
            priority: narrow("targets.priority", target.priority)?,
            weight: target.weight,
        })
    };
    let mut targets = it.targets.iter().map(target).collect::<Result<Vec<_>, WireError>>()?;
    let timeouts = timeouts(it.timeouts.unwrap_or_default())?;
    if tree.is_some() {
        targets.clear();
    }
    let route = Route {
        id: id("id", &it.id)?,
        workspace: id("workspace_id", &it.workspace_id)?,
        name: model_name(&it.name)?,
        targets,
        tree,
        max_attempts,
        timeouts,
        rules,
    };
    let Route { targets, tree, max_attempts, timeouts, rules, .. } = &route;
    let document = Document { targets, tree: tree.as_ref(), max_attempts: *max_attempts, timeouts, rules };
    document.check(&|_| true).map_err(|flaw| {
        let field = if flaw.pointer.starts_with("/rules") { "rules" } else { "tree" };
        wrong(field, Reason::OutOfBounds)
    })?;
    Ok(route)
}

fn part<T: serde::de::DeserializeOwned>(field: &'static str, json: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(json).map_err(|_| wrong(field, Reason::Malformed))
}

/// Writes a part of a document. The types have nothing that JSON cannot say, and give the same text for the same value.
fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}

/// The deployments of a tree in order, for nodes that know no trees.
fn leaves(tree: &Node) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    tree.visit_deployments(&mut |deployment_id| {
        if !targets.iter().any(|known| known.deployment_id == deployment_id) {
            let priority = u16::try_from(targets.len()).unwrap_or(u16::MAX);
            targets.push(Target { deployment_id, priority, weight: 1 });
        }
    });
    targets
}

fn timeouts(it: v1::Timeouts) -> Result<Timeouts, WireError> {
    let defaults = Timeouts::default();
    let positive = |field, value: Option<u32>, default| match value {
        Some(0) => Err(wrong(field, Reason::OutOfBounds)),
        value => Ok(value.unwrap_or(default)),
    };
    Ok(Timeouts {
        connect_ms: positive("timeouts.connect_ms", it.connect_ms, defaults.connect_ms)?,
        first_byte_ms: positive("timeouts.first_byte_ms", it.first_byte_ms, defaults.first_byte_ms)?,
        idle_ms: positive("timeouts.idle_ms", it.idle_ms, defaults.idle_ms)?,
        total_ms: positive("timeouts.total_ms", it.total_ms, defaults.total_ms)?,
    })
}

fn route_message(it: &Route) -> v1::Route {
    let target = |target: &Target| v1::Target {
        deployment_id: target.deployment_id.to_string(),
        priority: u32::from(target.priority),
        weight: target.weight,
    };
    v1::Route {
        id: it.id.to_string(),
        workspace_id: it.workspace.to_string(),
        name: it.name.to_string(),
        targets: it.tree.as_ref().map_or_else(|| it.targets.clone(), leaves).iter().map(target).collect(),
        max_attempts: u32::from(it.max_attempts),
        timeouts: Some(v1::Timeouts {
            connect_ms: Some(it.timeouts.connect_ms),
            first_byte_ms: Some(it.timeouts.first_byte_ms),
            idle_ms: Some(it.timeouts.idle_ms),
            total_ms: Some(it.timeouts.total_ms),
        }),
        tree: it.tree.as_ref().map(json),
        rules: (it.rules != Rules::default()).then(|| json(&it.rules)),
    }
}

// === Prices ===

fn price(it: v1::Price) -> Result<Price, WireError> {
    let source = match v1::PriceSource::try_from(it.source) {
        Ok(v1::PriceSource::Catalog) => PriceSource::Catalog,
        Ok(v1::PriceSource::Own) => PriceSource::Own,
        Ok(v1::PriceSource::Unspecified) => return Err(wrong("source", Reason::Missing)),
        Err(_) => return Err(wrong("source", Reason::Unknown)),
    };
    Ok(Price {
        id: id("id", &it.id)?,
        provider: bounded("provider", it.provider, MAX_TEXT)?,
        upstream_model: bounded("upstream_model", it.upstream_model, MAX_TEXT)?,
        effective_at: Timestamp::from_micros(it.effective_at_us),
        source,
        rates: rates(it.rates)?,
        long_context: long_context(&it.long_context)?,
        tiers: it.tiers.iter().map(tier).collect::<Result<_, WireError>>()?,
        images: it.images.into_iter().map(image).collect::<Result<_, WireError>>()?,
    })
}

fn image(it: v1::ImageRate) -> Result<ImageRate, WireError> {
    if it.each < 0 {
        return Err(wrong("images", Reason::OutOfBounds));
    }
    let kind = ImageKind { size: it.size, quality: it.quality };
    Ok(ImageRate { kind, each: Rate::per_million(it.each) })
}

fn image_message(it: &ImageRate) -> v1::ImageRate {
    let ImageKind { size, quality } = it.kind.clone();
    v1::ImageRate { size, quality, each: it.each.nano_usd_per_million }
}

fn tier(it: &v1::TierRates) -> Result<TierRates, WireError> {
    let tier = ServiceTier::find(&it.tier).ok_or(wrong("tiers.tier", Reason::Unknown))?;
    Ok(TierRates { tier, rates: rates(it.rates)?, long_context: long_context(&it.long_context)? })
}

fn long_context(of: &[v1::LongContextRates]) -> Result<Vec<LongContextRates>, WireError> {
    let long = |it: &v1::LongContextRates| {
        Ok(LongContextRates { above_input_tokens: it.above_input_tokens, rates: rates(it.rates)? })
    };
    of.iter().map(long).collect()
}

fn long_context_messages(of: &[LongContextRates]) -> Vec<v1::LongContextRates> {
    let long = |it: &LongContextRates| v1::LongContextRates {
        above_input_tokens: it.above_input_tokens,
        rates: Some(rates_message(&it.rates)),
    };
    of.iter().map(long).collect()
}

fn tier_message(it: &TierRates) -> v1::TierRates {
    let tier = match it.tier {
        ServiceTier::Batch => "batch",
        ServiceTier::Flex => "flex",
        ServiceTier::Priority => "priority",
    };
    let long_context = long_context_messages(&it.long_context);
    v1::TierRates { tier: tier.to_owned(), rates: Some(rates_message(&it.rates)), long_context }
}

fn rates(it: Option<v1::Rates>) -> Result<Rates, WireError> {
    let it = it.ok_or(wrong("rates", Reason::Missing))?;
    let rate =
        |value: i64| if value < 0 { Err(wrong("rates", Reason::OutOfBounds)) } else { Ok(Rate::per_million(value)) };
    Ok(Rates {
        input: rate(it.input)?,
        cached_input: it.cached_input.map(rate).transpose()?,
        cache_write_5m: it.cache_write_5m.map(rate).transpose()?,
        cache_write_1h: it.cache_write_1h.map(rate).transpose()?,
        output: rate(it.output)?,
        reasoning: it.reasoning.map(rate).transpose()?,
        units: match it.units {
            None => UnitRates::default(),
            Some(it) => UnitRates {
                image: it.image.map(rate).transpose()?,
                audio_second: it.audio_second.map(rate).transpose()?,
                character: it.character.map(rate).transpose()?,
                search: it.search.map(rate).transpose()?,
                page: it.page.map(rate).transpose()?,
            },
        },
        modal: match it.modal {
            None => ModalRates::default(),
            Some(it) => ModalRates {
                audio_input: it.audio_input.map(rate).transpose()?,
                cached_audio_input: it.cached_audio_input.map(rate).transpose()?,
                audio_output: it.audio_output.map(rate).transpose()?,
                image_input: it.image_input.map(rate).transpose()?,
                cached_image_input: it.cached_image_input.map(rate).transpose()?,
                image_output: it.image_output.map(rate).transpose()?,
            },
        },
    })
}

fn rates_message(it: &Rates) -> v1::Rates {
    let rate = |rate: Rate| rate.nano_usd_per_million;
    v1::Rates {
        input: rate(it.input),
        cached_input: it.cached_input.map(rate),
        cache_write_5m: it.cache_write_5m.map(rate),
        cache_write_1h: it.cache_write_1h.map(rate),
        output: rate(it.output),
        reasoning: it.reasoning.map(rate),
        units: (!it.units.is_empty()).then(|| v1::UnitRates {
            image: it.units.image.map(rate),
            audio_second: it.units.audio_second.map(rate),
            character: it.units.character.map(rate),
            search: it.units.search.map(rate),
            page: it.units.page.map(rate),
        }),
        modal: (!it.modal.is_empty()).then(|| v1::ModalRates {
            audio_input: it.modal.audio_input.map(rate),
            cached_audio_input: it.modal.cached_audio_input.map(rate),
            audio_output: it.modal.audio_output.map(rate),
            image_input: it.modal.image_input.map(rate),
            cached_image_input: it.modal.cached_image_input.map(rate),
            image_output: it.modal.image_output.map(rate),
        }),
    }
}

fn price_message(it: &Price) -> v1::Price {
    let source = match it.source {
        PriceSource::Catalog => v1::PriceSource::Catalog,
        PriceSource::Own => v1::PriceSource::Own,
    };
    v1::Price {
        id: it.id.to_string(),
        provider: it.provider.clone(),
        upstream_model: it.upstream_model.clone(),
        effective_at_us: it.effective_at.as_micros(),
        source: source.into(),
        rates: Some(rates_message(&it.rates)),
        long_context: long_context_messages(&it.long_context),
        tiers: it.tiers.iter().map(tier_message).collect(),
        images: it.images.iter().map(image_message).collect(),
    }
}
