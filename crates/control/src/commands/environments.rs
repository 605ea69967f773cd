//! Environments of a workspace.

use api::Empty;
use api::ops::environments::{CreateEnvironment, DeleteEnvironment, EnvironmentView, UpdateEnvironment};
use domain::environment::Environment;
use domain::id::IdMint as _;
use domain::{EnvironmentId, WorkspaceId};
use store::Tx;

use crate::queries::environments::view;
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// The most environments a workspace may have.
const MAX: usize = 20;

/// Creates an environment after the existing ones.
pub async fn create(call: Call<CreateEnvironment>) -> Outcome<Reply<EnvironmentView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let workspace_id = call.workspace()?;
    let existing = store::environments::list(&mut write, workspace_id).await?;
    if existing.len() >= MAX {
        return Err(Failure::conflict(format!("A workspace has at most {MAX} environments; delete one first.")));
    }
    let environment = Environment {
        id: EnvironmentId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        workspace_id,
        slug: call.body.slug.clone(),
        name: call.body.name.clone(),
        position: existing.last().map_or(1, |last| last.position.saturating_add(1)),
        version: 1,
        created_at: call.now(),
    };
    store::environments::insert(&mut write, &permit, &environment).await?;
    let view = view(environment);
    write.audit(subject(&view).created("environment.create", &view));
    write.commit(view).await
}

/// Renames an environment or moves it in the order.
pub async fn update(call: Call<UpdateEnvironment>) -> Outcome<Reply<EnvironmentView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut environment = get(&mut write, call.workspace()?, call.path.environment_id).await?;
    let before = view(environment.clone());
    environment.version = seen;
    if let Some(name) = &call.body.name {
        environment.name = name.clone();
    }
    if let Some(position) = call.body.position {
        environment.position = position;
    }
    environment.version = store::environments::update(&mut write, &permit, &environment).await?;
    let after = view(environment);
    write.audit(subject(&after).changed("environment.update", &before, &after));
    write.commit(after).await
}

/// Deletes an environment that no key is attached to.
pub async fn delete(call: Call<DeleteEnvironment>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let environment = get(&mut write, call.workspace()?, call.path.environment_id).await?;
    if store::environments::has_keys(&mut write, environment.id).await? {
        return Err(Failure::conflict(
            "Keys are attached to this environment, revoked ones included; an environment with a history stays.",
        ));
    }
    store::environments::delete(&mut write, &permit, environment.id).await?;
    let before = view(environment);
    write.audit(subject(&before).removed("environment.delete", &before));
    write.commit(Empty {}).await
}

/// Returns an environment of the workspace; one of another workspace is absent.
pub(crate) async fn get(tx: &mut Tx, workspace: WorkspaceId, id: EnvironmentId) -> Outcome<Environment> {
    let environment = store::environments::get(tx, id).await?;
    if environment.workspace_id == workspace { Ok(environment) } else { Err(Failure::not_found()) }
}

fn subject(view: &EnvironmentView) -> Subject {
    Subject::new("environment", view.id, &view.slug).within(view.workspace_id)
}
