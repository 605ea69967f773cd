//! Makes a batch of a file that was uploaded.

use batch::facts::Facts;
use batch::ids::Named;
use batch::object::Object;
use batch::shape::{self, What};
use domain::code::GatewayCode;
use domain::remote::RemoteKind;
use http::Method;

use crate::port::{Given, Meter, Refusal};
use crate::{Asking, Found, invalid, look};

/// Serves `POST /v1/batches`.
pub(crate) async fn batch(asking: &Asking<'_>, body: &[u8], meter: &mut dyn Meter) -> Result<Given, Refusal> {
    let wish = Object::read(body).ok_or_else(|| invalid("the body must be a JSON object"))?;
    let input = wish.text("input_file_id").map(str::to_owned);
    let input = input.ok_or_else(|| invalid("\"input_file_id\" is required").with_param("input_file_id"))?;
    let Some(Named::File(input_id)) = Named::parse(&input) else {
        return Err(crate::unknown().with_param("input_file_id"));
    };
    let file = asking.find(input_id, RemoteKind::File, meter).await;
    let Found { object: file, facts, upstream } = file.map_err(|refusal| refusal.with_param("input_file_id"))?;
    if wish.text("endpoint") != Some(facts.endpoint.as_str()) {
        let detail = format!("the calls of this file are for `{}`; name that as the endpoint", facts.endpoint);
        return Err(invalid(detail).with_param("endpoint"));
    }
    check(asking, &facts)?;
    let form = upstream.form();
    let mut dropped = Vec::new();
    let body = shape::wish(form, wish, &file.upstream_id, &facts, &mut dropped).to_string().into();
    meter.drop_fields(&mut dropped);
    let below = shape::path(form, What::Make(facts.models.first().map_or("", |model| model.upstream.as_str())));
    let made = upstream.call(Method::POST, &below, asking.headers, Some(body)).await;
    let made = made.map_err(|trouble| trouble.said(&[(&file.upstream_id, &input)]))?;
    let shown = Object::read(&made).map(|made| shape::batch(form, made, &facts));
    let shown = shown.filter(|shown| shown.text("id").is_some());
    let shown = shown.ok_or_else(|| {
        Refusal::new(GatewayCode::UpstreamError, "the upstream's answer could not be read; try again shortly")
    })?;
    let facts = Facts { input: Some(input_id), ..facts };
    let upstream_id = shown.text("id").unwrap_or_default();
    let object = asking.object(RemoteKind::Batch, &upstream, upstream_id, &facts, asking.at);
    let id = object.id;
    look::note(asking, &upstream, object, meter).await?;
    Ok(Given::Json(shown.as_batch(id, Some(input_id)).to_string().into()))
}

/// Checks that the caller may still use every model of a file, and that each still serves.
fn check(asking: &Asking<'_>, facts: &Facts) -> Result<(), Refusal> {
    for model in &facts.models {
        if !asking.caller.key.allows(&model.name) {
            let detail = format!(
                "this key may not use the model `{}`, of which this file has calls; let an administrator add it to the key",
                model.name
            );
            return Err(Refusal::new(GatewayCode::ModelNotAllowed, detail));
        }
        let mut deployments = asking.caller.workspace.deployments();
        if !deployments.any(|deployment| deployment.id == model.deployment && deployment.is_usable()) {
            let detail =
                format!("what served the model `{}` when the file was uploaded is gone; upload it again", model.name);
            return Err(Refusal::new(GatewayCode::NoHealthyTarget, detail));
        }
    }
    Ok(())
}
