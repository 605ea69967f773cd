//! Writes a usage event as the protocol's message, straight from our own type.
//!
//! The same bytes as `policy::wire::usage::encode` followed by prost, which the tests compare; that way makes some forty
//! strings per call, this one none. Invariant: wire format of proto3 (protobuf.dev/programming-guides/encoding): defaults are
//! left out, optional fields that are set are not.

use domain::budget::Charge;
use domain::id::IdText;
use domain::usage::{AttemptRecord, CacheOutcome, ModalUsage, Routing, TokenUsage, UnitUsage, UsageEvent};

/// Appends the message of an event.
pub(crate) fn write_event(event: &UsageEvent, out: &mut Vec<u8>) {
    let it = event;
    id(1, &it.id, out);
    id(2, &it.organization_id, out);
    id(3, &it.workspace_id, out);
    id(4, &it.environment_id, out);
    id(5, &it.virtual_key_id, out);
    text(6, it.endpoint.as_str(), out);
    text(7, &it.model, out);
    optional_id(8, it.route_id.as_ref(), out);
    optional_id(9, it.deployment_id.as_ref(), out);
    optional_text(10, it.provider.as_deref(), out);
    optional_text(11, it.upstream_model.as_deref(), out);
    number(12, u64::from(it.is_stream), out);
    text(13, it.outcome.as_str(), out);
    number(14, u64::from(it.status), out);
    optional_text(15, it.code.as_deref(), out);
    optional_text(16, it.finish_reason.as_deref(), out);
    signed(17, it.started_at.as_micros(), out);
    number(18, it.duration_us, out);
    optional_number(19, it.first_byte_us, out);
    number(20, it.overhead_us, out);
    tokens(21, &it.usage, out);
    number(22, u64::from(it.is_estimated), out);
    signed(23, it.cost.as_nanos(), out);
    optional_id(24, it.price_id.as_ref(), out);
    number(25, it.policy_revision, out);
    optional_text(26, it.end_user.as_deref(), out);
    optional_text(27, it.conversation_id.as_deref(), out);
    optional_text(28, it.trace_id.as_deref(), out);
    for (name, value) in &it.metadata {
        message(29, out, |out| {
            text(1, name, out);
            text(2, value, out);
        });
    }
    for tag in &it.tags {
        optional_text(30, Some(tag), out);
    }
    for path in &it.dropped {
        optional_text(31, Some(path), out);
    }
    for attempt in &it.attempts {
        message(32, out, |out| write_attempt(attempt, out));
    }
    let reuse = &it.cache;
    optional_text(33, Some(reuse.outcome.as_str()).filter(|_| reuse.outcome != CacheOutcome::Off), out);
    number(34, reuse.saved_input, out);
    number(35, reuse.saved_output, out);
    signed(36, reuse.saved_cost.as_nanos(), out);
    units(40, &it.units, out);
    number(41, u64::from(it.is_unmetered), out);
    if let Some(routing) = &it.routing {
        message(45, out, |out| write_routing(routing, out));
    }
    for charge in &it.charges {
        message(46, out, |out| write_charge(charge, out));
    }
    number(47, u64::from(it.is_by_old_secret), out);
}

fn write_charge(it: &Charge, out: &mut Vec<u8>) {
    id(1, &it.budget_id, out);
    text(2, it.window.as_str(), out);
    text(3, &it.group_key, out);
    optional_id(4, it.lease_id.as_ref(), out);
    number(5, it.amount, out);
}

fn write_routing(it: &Routing, out: &mut Vec<u8>) {
    number(1, it.received_us, out);
    number(2, it.dispatched_us, out);
    for skipped in &it.skipped {
        message(3, out, |out| {
            id(1, &skipped.deployment_id, out);
            text(2, skipped.reason.as_str(), out);
        });
    }
    number(4, u64::from(it.continued), out);
}

fn write_attempt(it: &AttemptRecord, out: &mut Vec<u8>) {
    number(1, u64::from(it.n), out);
    id(2, &it.deployment_id, out);
    optional_id(3, it.credential_id.as_ref(), out);
    text(4, &it.provider, out);
    text(5, &it.upstream_model, out);
    signed(6, it.started_at.as_micros(), out);
    number(7, it.duration_us, out);
    optional_number(8, it.first_byte_us, out);
    text(9, it.outcome.as_str(), out);
    optional_number(10, it.status.map(u64::from), out);
    optional_text(11, it.upstream_request_id.as_deref(), out);
    tokens(12, &it.usage, out);
    signed(13, it.cost.as_nanos(), out);
    units(20, &it.units, out);
    if let Some(modal) = &it.modal {
        message(21, out, |out| write_modal(modal, out));
    }
    if let Some(image) = &it.image {
        message(22, out, |out| {
            optional_text(1, image.size.as_deref(), out);
            optional_text(2, image.quality.as_deref(), out);
        });
    }
}

fn units(field: u32, it: &UnitUsage, out: &mut Vec<u8>) {
    if it.is_empty() {
        return;
    }
    message(field, out, |out| {
        let counts = [it.images, it.audio_ms, it.characters, it.searches, it.pages];
        for (field, count) in (1..).zip(counts) {
            number(field, count, out);
        }
    });
}

fn tokens(field: u32, it: &TokenUsage, out: &mut Vec<u8>) {
    message(field, out, |out| {
        let counts = [it.input, it.cached_input, it.cache_write_5m, it.cache_write_1h, it.output, it.reasoning];
        for (field, count) in (1..).zip(counts) {
            number(field, count, out);
        }
    });
}

fn write_modal(it: &ModalUsage, out: &mut Vec<u8>) {
    let ModalUsage { audio_input, cached_audio_input, audio_output, image_input, cached_image_input, image_output } =
        *it;
    let counts = [audio_input, cached_audio_input, audio_output, image_input, cached_image_input, image_output];
    for (field, count) in (1..).zip(counts) {
        number(field, count, out);
    }
}

// === The wire format ===

const VARINT: u32 = 0;
const LENGTH: u32 = 2;

fn varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7F);
            return;
        }
        out.push(low | 0x80);
    }
}

fn key(field: u32, kind: u32, out: &mut Vec<u8>) {
    varint(u64::from(field << 3 | kind), out);
}

fn number(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        optional_number(field, Some(value), out);
    }
}

fn signed(field: u32, value: i64, out: &mut Vec<u8>) {
    // `int64` is its two's complement as a varint.
    number(field, u64::from_le_bytes(value.to_le_bytes()), out);
}

fn optional_number(field: u32, value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        key(field, VARINT, out);
        varint(value, out);
    }
}

fn text(field: u32, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        optional_text(field, Some(value), out);
    }
}

fn optional_text(field: u32, value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        key(field, LENGTH, out);
        varint(value.len() as u64, out);
        out.extend_from_slice(value.as_bytes());
    }
}

fn optional_id(field: u32, value: Option<&impl IdText>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        id(field, value, out);
    }
}

/// Writes an id; its text is shorter than 128 bytes, so its length is one byte.
fn id(field: u32, value: &impl IdText, out: &mut Vec<u8>) {
    key(field, LENGTH, out);
    let at = out.len();
    out.push(0);
    value.append_to(out);
    let [length, ..] = (out.len() - at - 1).to_le_bytes();
    out[at] = length;
}

/// Writes a nested message: its body first, then its length in front of it.
fn message(field: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    key(field, LENGTH, out);
    let at = out.len();
    body(out);
    let length = out.len() - at;
    varint(length as u64, out);
    let n_length_bytes = out.len() - at - length;
    out[at..].rotate_right(n_length_bytes);
}

#[cfg(test)]
mod tests {
    use domain::usage::{CacheUse, Endpoint, Outcome};
    use domain::{CredentialId, DeploymentId, NanoUsd, PriceId, RouteId};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::usage::samples::ended;

    fn words() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "\\PC{1,20}", "[a-z]{200,300}"]
    }

    fn maybe() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(words())
    }

    fn counts() -> impl Strategy<Value = TokenUsage> {
        proptest::array::uniform6(prop_oneof![Just(0), 1..300_u64, any::<u64>()]).prop_map(
            |[input, cached_input, cache_write_5m, cache_write_1h, output, reasoning]| TokenUsage {
                input,
                cached_input,
                cache_write_5m,
                cache_write_1h,
                output,
                reasoning,
            },
        )
    }

    fn modal(sound: u16) -> Option<Box<ModalUsage>> {
        let sound = u64::from(sound);
        let heard = ModalUsage {
            audio_input: sound,
            audio_output: sound / 2,
            cached_image_input: sound % 3,
            image_output: sound % 7,
            ..ModalUsage::default()
        };
        (sound % 2 == 0).then(|| Box::new(heard))
    }

    fn units() -> impl Strategy<Value = UnitUsage> {
        proptest::array::uniform5(prop_oneof![Just(0), 1..300_u64, any::<u64>()]).prop_map(
            |[images, audio_ms, characters, searches, pages]| UnitUsage {
                images,
                audio_ms,
                characters,
                searches,
                pages,
            },
        )
    }

    fn attempts() -> impl Strategy<Value = Vec<AttemptRecord>> {
        let attempt =
            (any::<u16>(), words(), maybe(), counts(), units(), any::<i64>(), proptest::option::of(any::<u16>()));
        let attempt =
            attempt.prop_map(|(n, provider, upstream_request_id, usage, units, cost, status)| AttemptRecord {
                n,
                units,
                modal: modal(n),
                image: (n % 3 == 0)
                    .then(|| Box::new(domain::image::ImageKind { size: Some("1024x1024".to_owned()), quality: None })),
                credential_id: status.map(|status| CredentialId::from_uuid(u128::from(status))),
                provider,
                upstream_request_id,
                usage,
                status,
                cost: NanoUsd::from_nanos(cost),
                ..ended(1).attempts.remove(0)
            });
        proptest::collection::vec(attempt, 0..4)
    }

    fn charge(attempt: &AttemptRecord) -> Charge {
        Charge {
            budget_id: domain::BudgetId::from_uuid(12),
            window: domain::budget::Window::Day,
            group_key: attempt.provider.as_str().into(),
            lease_id: attempt.status.map(|status| domain::LeaseId::from_uuid(u128::from(status))),
            amount: attempt.usage.input,
        }
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_generated_message(
            (usage, attempts, cost, first_byte_us) in (counts(), attempts(), any::<i64>(), proptest::option::of(any::<u64>())),
            (model, provider, code, end_user) in (words(), maybe(), maybe(), maybe()),
            (tags, dropped, pairs) in (
                proptest::collection::vec(words(), 0..3),
                proptest::collection::vec(words(), 0..3),
                proptest::collection::vec((words(), words()), 0..3),
            ),
            (is_stream, is_estimated, is_known, status) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<u16>()),
            (endpoint, outcome, units) in (0..Endpoint::ALL.len(), 0..Outcome::ALL.len(), units()),
            (reuse, saved) in (0..CacheOutcome::ALL.len(), counts()),
        ) {
            let event = UsageEvent {
                usage,
                units,
                cost: NanoUsd::from_nanos(cost),
                first_byte_us,
                charges: attempts.iter().map(charge).collect(),
                attempts,
                model,
                provider: provider.clone(),
                upstream_model: provider,
                code: code.clone(),
                finish_reason: code,
                end_user: end_user.clone(),
                conversation_id: end_user.clone(),
                trace_id: end_user,
                tags,
                dropped,
                metadata: pairs,
                is_stream,
                is_estimated,
                is_unmetered: is_estimated ^ is_stream,
                is_by_old_secret: is_estimated ^ is_known,
                status,
                endpoint: Endpoint::ALL[endpoint],
                outcome: Outcome::ALL[outcome],
                route_id: is_known.then(|| RouteId::from_uuid(8)),
                deployment_id: is_known.then(|| DeploymentId::from_uuid(9)),
                price_id: is_known.then(|| PriceId::from_uuid(10)),
                routing: is_known.then(|| domain::usage::Routing {
                    received_us: saved.input,
                    dispatched_us: saved.output,
                    skipped: vec![domain::usage::Skipped {
                        deployment_id: DeploymentId::from_uuid(11),
                        reason: domain::usage::SkipReason::Ejected,
                    }],
                    continued: 2,
                }),
                cache: CacheUse {
                    outcome: CacheOutcome::ALL[reuse],
                    saved_input: saved.input,
                    saved_output: saved.output,
                    saved_cost: NanoUsd::from_nanos(cost),
                },
                ..ended(1)
            };
            let mut bytes = Vec::new();
            write_event(&event, &mut bytes);
            prop_assert_eq!(bytes, policy::wire::usage::encode(&event).encode_to_vec());
        }
    }
}
