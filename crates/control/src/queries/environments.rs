//! Environments of a workspace.

use api::ops::environments::{EnvironmentView, ListEnvironments};
use domain::Page;
use domain::environment::Environment;

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// Lists environments in order of promotion.
pub async fn list(call: Call<ListEnvironments>) -> Outcome<Reply<Page<EnvironmentView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let all = store::environments::list(&mut tx, call.workspace()?).await?;
    let page =
        operation::page::slice(all, call.query.cursor.as_ref(), limit, |environment| environment.id.to_string())?;
    Ok(Reply::new(page.map(view)))
}

pub(crate) fn view(environment: Environment) -> EnvironmentView {
    EnvironmentView {
        id: environment.id,
        workspace_id: environment.workspace_id,
        slug: environment.slug,
        name: environment.name,
        position: environment.position,
        version: environment.version,
        created_at: environment.created_at,
    }
}
