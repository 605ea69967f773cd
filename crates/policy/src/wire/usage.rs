//! Usage events: [`UsageEvent`] ⇄ message. The node is not part of the message; the certificate names it.

use domain::budget::{Budget, Charge, Window};
use domain::image::ImageKind;
use domain::usage::{
    AttemptOutcome, AttemptRecord, CacheOutcome, CacheUse, Endpoint, ModalUsage, Outcome, Routing, SkipReason, Skipped,
    TokenUsage, UnitUsage, UsageEvent,
};
use domain::{NanoUsd, NodeId, Timestamp};
use prost::Message as _;
use proto::v1;

use super::{Reason, WireError, group_key, id, narrow, optional_id, wrong};

/// Turns an event into its message.
#[must_use]
pub fn encode(it: &UsageEvent) -> v1::UsageEvent {
    v1::UsageEvent {
        request_id: it.id.to_string(),
        organization_id: it.organization_id.to_string(),
        workspace_id: it.workspace_id.to_string(),
        environment_id: it.environment_id.to_string(),
        virtual_key_id: it.virtual_key_id.to_string(),
        endpoint: it.endpoint.to_string(),
        model: it.model.clone(),
        route_id: it.route_id.map(|id| id.to_string()),
        deployment_id: it.deployment_id.map(|id| id.to_string()),
        provider: it.provider.clone(),
        upstream_model: it.upstream_model.clone(),
        is_stream: it.is_stream,
        outcome: it.outcome.to_string(),
        status: u32::from(it.status),
        code: it.code.clone(),
        finish_reason: it.finish_reason.clone(),
        started_at_us: it.started_at.as_micros(),
        duration_us: it.duration_us,
        first_byte_us: it.first_byte_us,
        overhead_us: it.overhead_us,
        usage: Some(tokens_message(&it.usage)),
        is_estimated: it.is_estimated,
        cost_nano_usd: it.cost.as_nanos(),
        price_id: it.price_id.map(|id| id.to_string()),
        policy_revision: it.policy_revision,
        end_user: it.end_user.clone(),
        conversation_id: it.conversation_id.clone(),
        trace_id: it.trace_id.clone(),
        metadata: it
            .metadata
            .iter()
            .map(|(name, value)| v1::Pair { name: name.clone(), value: value.clone() })
            .collect(),
        routing: it.routing.as_ref().map(routing_message),
        tags: it.tags.clone(),
        dropped: it.dropped.clone(),
        attempts: it.attempts.iter().map(attempt_message).collect(),
        cache: (it.cache.outcome != CacheOutcome::Off).then(|| it.cache.outcome.to_string()),
        saved_input: it.cache.saved_input,
        saved_output: it.cache.saved_output,
        saved_cost_nano_usd: it.cache.saved_cost.as_nanos(),
        units: units_message(&it.units),
        is_unmetered: it.is_unmetered,
        charges: it.charges.iter().map(charge_message).collect(),
        is_by_old_secret: it.is_by_old_secret,
    }
}

/// Largest event; the usual one has some 500 bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// Longest name of a model or a provider. Names are parts of keys by which the ledger sums, and keys have their bounds.
const MAX_NAME: usize = 1_024;
const MAX_PROVIDER: usize = 128;
/// A call tries few upstreams; more is a mistake.
const MAX_ATTEMPTS: usize = 1_000;

fn check_bounds(it: &v1::UsageEvent) -> Result<(), WireError> {
    let names = [
        ("model", Some(&it.model), MAX_NAME),
        ("provider", it.provider.as_ref(), MAX_PROVIDER),
        ("upstream_model", it.upstream_model.as_ref(), MAX_NAME),
    ];
    let of_attempts = it.attempts.iter().flat_map(|attempt| {
        [
            ("attempts.provider", Some(&attempt.provider), MAX_PROVIDER),
            ("attempts.upstream_model", Some(&attempt.upstream_model), MAX_NAME),
        ]
    });
    for (field, name, max) in names.into_iter().chain(of_attempts) {
        if name.is_some_and(|name| name.len() > max) {
            return Err(wrong(field, Reason::OutOfBounds));
        }
    }
    if it.attempts.len() > MAX_ATTEMPTS {
        return Err(wrong("attempts", Reason::OutOfBounds));
    }
    if it.encoded_len() > MAX_BYTES {
        return Err(wrong("event", Reason::OutOfBounds));
    }
    Ok(())
}

/// Reads an event that `node` reported.
pub fn decode(node: NodeId, it: v1::UsageEvent) -> Result<UsageEvent, WireError> {
    check_bounds(&it)?;
    let cache = cache_use(&it)?;
    Ok(UsageEvent {
        cache,
        id: id("request_id", &it.request_id)?,
        organization_id: id("organization_id", &it.organization_id)?,
        workspace_id: id("workspace_id", &it.workspace_id)?,
        environment_id: id("environment_id", &it.environment_id)?,
        virtual_key_id: id("virtual_key_id", &it.virtual_key_id)?,
        node_id: node,
        endpoint: Endpoint::find(&it.endpoint).ok_or(wrong("endpoint", Reason::Unknown))?,
        model: it.model,
        route_id: optional_id("route_id", it.route_id.as_ref())?,
        deployment_id: optional_id("deployment_id", it.deployment_id.as_ref())?,
        provider: it.provider,
        upstream_model: it.upstream_model,
        is_stream: it.is_stream,
        outcome: Outcome::find(&it.outcome).ok_or(wrong("outcome", Reason::Unknown))?,
        status: narrow("status", it.status)?,
        code: it.code,
        finish_reason: it.finish_reason,
        started_at: Timestamp::from_micros(it.started_at_us),
        duration_us: it.duration_us,
        first_byte_us: it.first_byte_us,
        overhead_us: it.overhead_us,
        usage: tokens(it.usage),
        units: units(it.units),
        is_estimated: it.is_estimated,
        is_unmetered: it.is_unmetered,
        cost: NanoUsd::from_nanos(it.cost_nano_usd),
        price_id: optional_id("price_id", it.price_id.as_ref())?,
        policy_revision: it.policy_revision,
        end_user: it.end_user,
        conversation_id: it.conversation_id,
        trace_id: it.trace_id,
        metadata: it.metadata.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        routing: it.routing.as_ref().map(routing).transpose()?,
        tags: it.tags,
        dropped: it.dropped,
        attempts: it.attempts.into_iter().map(attempt).collect::<Result<_, _>>()?,
        charges: charges(&it.charges)?,
        is_by_old_secret: it.is_by_old_secret,
    })
}

/// A call is held against few accounts; more is a mistake.
const MAX_CHARGES: usize = 1_000;

fn charges(list: &[v1::Charge]) -> Result<Vec<Charge>, WireError> {
    if list.len() > MAX_CHARGES {
        return Err(wrong("charges", Reason::OutOfBounds));
    }
    list.iter().map(charge).collect()
}

fn charge(it: &v1::Charge) -> Result<Charge, WireError> {
    if it.amount > Budget::MAX_AMOUNT {
        return Err(wrong("charges.amount", Reason::OutOfBounds));
    }
    Ok(Charge {
        budget_id: id("charges.budget_id", &it.budget_id)?,
        window: Window::find(&it.window).ok_or(wrong("charges.window", Reason::Unknown))?,
        group_key: group_key("charges.group_key", &it.group_key)?,
        lease_id: optional_id("charges.lease_id", it.lease_id.as_ref())?,
        amount: it.amount,
    })
}

fn charge_message(it: &Charge) -> v1::Charge {
    v1::Charge {
        budget_id: it.budget_id.to_string(),
        window: it.window.to_string(),
        group_key: it.group_key.to_string(),
        lease_id: it.lease_id.map(|id| id.to_string()),
        amount: it.amount,
    }
}

fn cache_use(it: &v1::UsageEvent) -> Result<CacheUse, WireError> {
    let outcome = match &it.cache {
        Some(text) => CacheOutcome::find(text).ok_or(wrong("cache", Reason::Unknown))?,
        None => CacheOutcome::Off,
    };
    Ok(CacheUse {
        outcome,
        saved_input: it.saved_input,
        saved_output: it.saved_output,
        saved_cost: NanoUsd::from_nanos(it.saved_cost_nano_usd),
    })
}

fn routing(it: &v1::Routing) -> Result<Routing, WireError> {
    let skipped = |it: &v1::Skipped| {
        Ok(Skipped {
            deployment_id: id("routing.skipped.deployment_id", &it.deployment_id)?,
            reason: SkipReason::find(&it.reason).ok_or(wrong("routing.skipped.reason", Reason::Unknown))?,
        })
    };
    Ok(Routing {
        received_us: it.received_us,
        dispatched_us: it.dispatched_us,
        skipped: it.skipped.iter().map(skipped).collect::<Result<_, WireError>>()?,
        continued: narrow("routing.continued", it.continued)?,
    })
}

fn routing_message(it: &Routing) -> v1::Routing {
    let skipped =
        |it: &Skipped| v1::Skipped { deployment_id: it.deployment_id.to_string(), reason: it.reason.to_string() };
    v1::Routing {
        received_us: it.received_us,
        dispatched_us: it.dispatched_us,
        skipped: it.skipped.iter().map(skipped).collect(),
        continued: u32::from(it.continued),
    }
}

fn attempt(it: v1::Attempt) -> Result<AttemptRecord, WireError> {
    Ok(AttemptRecord {
        n: narrow("attempts.n", it.n)?,
        deployment_id: id("attempts.deployment_id", &it.deployment_id)?,
        credential_id: optional_id("attempts.credential_id", it.credential_id.as_ref())?,
        provider: it.provider,
        upstream_model: it.upstream_model,
        started_at: Timestamp::from_micros(it.started_at_us),
        duration_us: it.duration_us,
        first_byte_us: it.first_byte_us,
        outcome: AttemptOutcome::find(&it.outcome).ok_or(wrong("attempts.outcome", Reason::Unknown))?,
        status: it.status.map(|status| narrow("attempts.status", status)).transpose()?,
        upstream_request_id: it.upstream_request_id,
        usage: tokens(it.usage),
        modal: it.modal.map(|it| Box::new(modal(it))),
        units: units(it.units),
        image: it.image.map(|it| Box::new(ImageKind { size: it.size, quality: it.quality })),
        cost: NanoUsd::from_nanos(it.cost_nano_usd),
    })
}

fn attempt_message(it: &AttemptRecord) -> v1::Attempt {
    v1::Attempt {
        n: u32::from(it.n),
        deployment_id: it.deployment_id.to_string(),
        credential_id: it.credential_id.map(|id| id.to_string()),
        provider: it.provider.clone(),
        upstream_model: it.upstream_model.clone(),
        started_at_us: it.started_at.as_micros(),
        duration_us: it.duration_us,
        first_byte_us: it.first_byte_us,
        outcome: it.outcome.to_string(),
        status: it.status.map(u32::from),
        upstream_request_id: it.upstream_request_id.clone(),
        usage: Some(tokens_message(&it.usage)),
        cost_nano_usd: it.cost.as_nanos(),
        units: units_message(&it.units),
        modal: it.modal.as_deref().map(modal_message),
        image: it.image.as_deref().map(image_message),
    }
}

fn units(it: Option<v1::UnitUsage>) -> UnitUsage {
    let it = it.unwrap_or_default();
    UnitUsage {
        images: it.images,
        audio_ms: it.audio_ms,
        characters: it.characters,
        searches: it.searches,
        pages: it.pages,
    }
}

fn units_message(it: &UnitUsage) -> Option<v1::UnitUsage> {
    let message = v1::UnitUsage {
        images: it.images,
        audio_ms: it.audio_ms,
        characters: it.characters,
        searches: it.searches,
        pages: it.pages,
    };
    (!it.is_empty()).then_some(message)
}

fn tokens(it: Option<v1::TokenUsage>) -> TokenUsage {
    // Absent is a message of zeros in proto3, and so it is here.
    let it = it.unwrap_or_default();
    TokenUsage {
        input: it.input,
        cached_input: it.cached_input,
        cache_write_5m: it.cache_write_5m,
        cache_write_1h: it.cache_write_1h,
        output: it.output,
        reasoning: it.reasoning,
    }
}

fn image_message(it: &ImageKind) -> v1::ImageKind {
    v1::ImageKind { size: it.size.clone(), quality: it.quality.clone() }
}

const fn modal(it: v1::ModalUsage) -> ModalUsage {
    ModalUsage {
        audio_input: it.audio_input,
        cached_audio_input: it.cached_audio_input,
        audio_output: it.audio_output,
        image_input: it.image_input,
        cached_image_input: it.cached_image_input,
        image_output: it.image_output,
    }
}

const fn modal_message(it: &ModalUsage) -> v1::ModalUsage {
    v1::ModalUsage {
        audio_input: it.audio_input,
        cached_audio_input: it.cached_audio_input,
        audio_output: it.audio_output,
        image_input: it.image_input,
        cached_image_input: it.cached_image_input,
        image_output: it.image_output,
    }
}

const fn tokens_message(it: &TokenUsage) -> v1::TokenUsage {
    v1::TokenUsage {
        input: it.input,
        cached_input: it.cached_input,
        cache_write_5m: it.cache_write_5m,
        cache_write_1h: it.cache_write_1h,
        output: it.output,
        reasoning: it.reasoning,
    }
}
