//! Answers `GET /v1/models` and `GET /v1/models/{id}` from the snapshot, in the client's dialect.
//!
//! Only what the caller's key may use is shown.

use domain::code::GatewayCode;
use llm::dialect::{Dialect, ModelEntry};
use policy::Caller;
use policy::snapshot::ModelPolicy;

use super::reply::Reply;
use super::resolve::refuse_unknown;
use crate::ingress::decode_model;
use crate::rejection::Rejection;

/// Lists the models that the caller may ask for.
pub(crate) fn list(caller: &Caller<'_>, dialect: Dialect) -> Reply {
    let entries: Vec<ModelEntry> =
        caller.workspace.models().filter(|model| caller.key.allows(&model.name)).map(|model| entry(model)).collect();
    Reply::own(dialect.encode_models(&entries))
}

/// Shows one model.
pub(crate) fn get(caller: &Caller<'_>, id: &str, dialect: Dialect) -> Result<Reply, Rejection> {
    let refused = || Rejection::new(GatewayCode::RequestInvalid, "the model name in the path is not UTF-8");
    let name = decode_model(id).ok_or_else(refused)?;
    let model = caller.workspace.model(&name).filter(|model| caller.key.allows(&model.name));
    let model = model.ok_or_else(|| refuse_unknown(caller, &name))?;
    Ok(Reply::own(dialect.encode_model(&entry(model))))
}

fn entry(model: &ModelPolicy) -> ModelEntry {
    // A route may be served by several providers; its owner is whoever made it.
    let owned_by = match (&model.route, model.targets.first()) {
        (None, Some(target)) => target.deployment.provider.as_str(),
        _ => "headgate",
    };
    ModelEntry { id: model.name.clone(), display_name: None, created: 0, owned_by: owned_by.into() }
}
