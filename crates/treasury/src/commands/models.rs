//! What an organization says of models: a model that the catalog lacks, or one of the catalog as the organization has it.
//!
//! Nodes are told with the deployments that serve the model, in the same revision.

use api::Empty;
use api::ops::models::{AddModel, ModelFactsView, ModelView, RemoveModel, UpdateModel};
use domain::ModelId;
use domain::id::IdMint as _;
use domain::model::{Capability, Modality, ModelFacts, ModelKind, OwnModel};
use operation::call::{Call, Reply, Write};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;
use provider::Provider;

use crate::queries::models::own_view;

/// The longest context accepted, in tokens.
const MAX_CONTEXT: u64 = 1_000_000_000;
/// The longest vectors accepted.
const MAX_DIMENSIONS: u32 = 100_000;

/// Finds a provider by the name in a body.
pub fn provider(name: &str) -> Outcome<&'static dyn Provider> {
    provider::find(name).ok_or_else(|| {
        let known: Vec<_> = provider::ALL.iter().map(|provider| provider.spec().name).collect();
        Failure::unacceptable("/provider", format!("is not a provider; use one of {}", known.join(", ")))
    })
}

/// Reads the name of a model at its provider.
pub fn upstream_model(text: &str) -> Outcome<String> {
    let text = text.trim();
    if !(1..=256).contains(&text.chars().count()) || text.chars().any(char::is_control) {
        return Err(Failure::unacceptable("/upstream_model", "use 1 to 256 printable characters"));
    }
    Ok(text.to_owned())
}

/// Describes a model.
pub async fn add(call: Call<AddModel>) -> Outcome<Reply<ModelView>> {
    let body = &call.body;
    let provider = provider(&body.provider)?.spec().name;
    let facts = facts(&body.facts)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    if store::models::count(&mut write).await? >= OwnModel::MAX {
        return Err(Failure::unacceptable("", format!("an organization describes at most {} models", OwnModel::MAX)));
    }
    let now = call.now();
    let model = OwnModel {
        id: ModelId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        provider: provider.to_owned(),
        upstream_model: upstream_model(&body.upstream_model)?,
        facts,
        quantization: body.facts.quantization,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    store::models::insert(&mut write, &permit, &model).await?;
    let view = view(&mut write, &call, &model).await?;
    write.audit(subject(&model).created("model.add", &view));
    write.commit(view).await
}

/// Describes it anew.
pub async fn update(call: Call<UpdateModel>) -> Outcome<Reply<ModelView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut model = store::models::get(&mut write, call.path.model_id).await?;
    let before = view(&mut write, &call, &model).await?;
    model.version = seen;
    if let Some(said) = &call.body.facts {
        model.facts = facts(said)?;
        model.quantization = said.quantization;
    }
    model.updated_at = call.now();
    model.version = store::models::update(&mut write, &permit, &model).await?;
    let after = view(&mut write, &call, &model).await?;
    write.audit(subject(&model).changed("model.update", &before, &after));
    write.commit(after).await
}

/// Forgets the description.
pub async fn remove(call: Call<RemoveModel>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let model = store::models::get(&mut write, call.path.model_id).await?;
    let before = view(&mut write, &call, &model).await?;
    store::models::delete(&mut write, &permit, &model).await?;
    write.audit(subject(&model).removed("model.remove", &before));
    write.commit(Empty {}).await
}

fn subject(model: &OwnModel) -> Subject {
    Subject::new("model", model.id, format!("{}/{}", model.provider, model.upstream_model))
}

async fn view(write: &mut Write<'_>, call: &operation::call::Head, model: &OwnModel) -> Outcome<ModelView> {
    let book = store::prices::list_by_model(write, &model.provider, &model.upstream_model).await?;
    Ok(own_view(model, &book, call.now()))
}

/// Reads what is said; what is absent follows from the kind.
fn facts(view: &ModelFactsView) -> Outcome<ModelFacts> {
    let wrong = |field: &str, detail: String| Err(Failure::unacceptable(&format!("/facts/{field}"), detail));
    let kind = view.kind.unwrap_or(ModelKind::Chat);
    if !(1..=MAX_CONTEXT).contains(&view.context_tokens) {
        return wrong("context_tokens", format!("use 1 to {MAX_CONTEXT}"));
    }
    if view.max_output_tokens.is_some_and(|most| !(1..=view.context_tokens).contains(&most)) {
        return wrong("max_output_tokens", "use 1 up to context_tokens".to_owned());
    }
    if view.dimensions.is_some_and(|length| !(1..=MAX_DIMENSIONS).contains(&length)) {
        return wrong("dimensions", format!("use 1 to {MAX_DIMENSIONS}"));
    }
    let capabilities = match (&view.capabilities, kind) {
        (Some(list), _) => once_each(list),
        (None, ModelKind::Chat) => vec![Capability::Tools, Capability::JsonSchema, Capability::Sampling],
        (None, _) => Vec::new(),
    };
    let (reads, writes) = usual(kind);
    let input = view.input.as_deref().map_or_else(|| vec![reads], once_each);
    let output = view.output.as_deref().map_or_else(|| vec![writes], once_each);
    if input.is_empty() || output.is_empty() {
        return wrong(
            if input.is_empty() { "input" } else { "output" },
            "name at least one, or leave it out".to_owned(),
        );
    }
    let (context_tokens, max_output_tokens) = (view.context_tokens, view.max_output_tokens);
    Ok(ModelFacts { kind, context_tokens, max_output_tokens, capabilities, input, output, dimensions: view.dimensions })
}

/// What models of a kind read and write.
const fn usual(kind: ModelKind) -> (Modality, Modality) {
    match kind {
        ModelKind::Chat | ModelKind::Rerank | ModelKind::Moderation => (Modality::Text, Modality::Text),
        ModelKind::Embedding => (Modality::Text, Modality::Vector),
        ModelKind::Image => (Modality::Text, Modality::Image),
        ModelKind::Speech => (Modality::Text, Modality::Audio),
        ModelKind::Transcription => (Modality::Audio, Modality::Text),
        ModelKind::Realtime => (Modality::Audio, Modality::Audio),
    }
}

fn once_each<T: Copy + Ord>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    list
}
