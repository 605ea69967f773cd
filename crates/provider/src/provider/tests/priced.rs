//! Whoever can be asked for something has a model for it whose price is known, so that no call is booked at nothing by accident.
//!
//! What has none is named here with its reason; the organization then enters its own price.

use std::collections::BTreeSet;

use super::super::*;
use crate::catalog::{self, ModelKind};

/// Who runs models of one's own choice: what they cost, their owner knows.
const AT_HOME: &[&str] = &["ollama", "openai_compatible", "sglang", "vllm"];

/// What no source that may be cited has a price for.
const UNPRICED: &[(&str, ModelKind, &str)] = &[
    ("azure_openai", ModelKind::Realtime, "no table states the prices of sound in sessions by region"),
    ("cloudflare", ModelKind::Embedding, "counted in neurons, and no table turns those of vectors into tokens"),
    ("deepgram", ModelKind::Speech, "the tables read have its transcriptions alone"),
    ("deepinfra", ModelKind::Embedding, "the tables read have its chat alone"),
    ("deepinfra", ModelKind::Image, "the tables read have its chat alone"),
    ("deepinfra", ModelKind::Speech, "the tables read have its chat alone"),
    ("deepinfra", ModelKind::Transcription, "the tables read have its chat alone"),
    ("gemini", ModelKind::Image, "Imagen left the vendor's list; what draws now is chat, priced by tokens of pictures"),
    ("jina", ModelKind::Embedding, "sold in packs of tokens at prices that no table states"),
    ("nebius", ModelKind::Image, "the tables read have its chat and vectors alone"),
    ("nvidia", ModelKind::Embedding, "free while one tries it; at home it is licensed by the GPU"),
    ("openrouter", ModelKind::Embedding, "resells at its sources' prices, which the tables read do not state"),
    ("sambanova", ModelKind::Embedding, "the tables read have its chat alone"),
    ("sambanova", ModelKind::Transcription, "the tables read have its chat alone"),
    ("together", ModelKind::Image, "the tables read have its chat and vectors alone"),
    ("together", ModelKind::Rerank, "its only priced model was switched off in February 2026"),
    ("together", ModelKind::Speech, "the tables read have its chat and vectors alone"),
    ("together", ModelKind::Transcription, "the tables read have its chat and vectors alone"),
    ("vertex", ModelKind::Image, "Imagen left the vendor's list; what draws now is chat, priced by tokens of pictures"),
    ("xai", ModelKind::Realtime, "sold by the minute that a session lasts, and what is booked are its turns"),
];

fn kind(surface: Surface) -> Option<ModelKind> {
    Some(match surface {
        Surface::Chat(_) | Surface::Wire | Surface::Task(Task::Compaction) => ModelKind::Chat,
        Surface::CountTokens(_) => return None,
        Surface::Embeddings => ModelKind::Embedding,
        Surface::Task(Task::Rerank) => ModelKind::Rerank,
        Surface::Task(Task::Moderation) => ModelKind::Moderation,
        Surface::Task(Task::ImageGeneration | Task::ImageEdit | Task::ImageVariation) => ModelKind::Image,
        Surface::Task(Task::Speech) => ModelKind::Speech,
        Surface::Task(Task::Transcription | Task::Translation) => ModelKind::Transcription,
        Surface::Realtime { .. } | Surface::Live => ModelKind::Realtime,
    })
}

fn has_price(provider: &str, wanted: ModelKind) -> bool {
    let is_it = |model: &&catalog::Model| model.provider == provider && model.facts.kind == wanted;
    catalog::all().iter().filter(is_it).any(|model| !model.prices.is_empty())
}

#[test]
fn each_provider_has_a_priced_model_for_each_of_its_surfaces() {
    for provider in ALL {
        let spec = provider.spec();
        if AT_HOME.contains(&spec.name) || spec.name == "echo" {
            continue;
        }
        let kinds: Vec<ModelKind> =
            spec.places.iter().chain(spec.dated_places).filter_map(|place| kind(place.surface)).collect();
        for wanted in kinds {
            let reason = UNPRICED.iter().find(|(name, kind, _)| (*name, *kind) == (spec.name, wanted));
            assert!(
                has_price(spec.name, wanted) != reason.is_some(),
                "{} {wanted:?}: {}",
                spec.name,
                if reason.is_some() { "has a price now; take it off the list" } else { "has no priced model" }
            );
        }
    }
}

#[test]
fn no_exception_is_for_somebody_who_is_not_there() {
    let names: BTreeSet<&str> = ALL.iter().map(|provider| provider.spec().name).collect();
    assert!(UNPRICED.iter().all(|(name, _, why)| names.contains(name) && !why.is_empty()));
    assert!(AT_HOME.iter().all(|name| names.contains(name)));
}
