//! Workspaces: creating, renaming, archiving.

use api::Empty;
use api::ops::workspaces::{ArchiveWorkspace, CreateWorkspace, UpdateWorkspace, WorkspaceView};
use domain::WorkspaceId;
use domain::id::IdMint as _;
use domain::workspace::Workspace;

use crate::commands::organizations::insert_environments;
use crate::queries::workspaces::view;
use operation::call::{Call, Reply};
use operation::error::Outcome;
use operation::trail::Subject;

/// Creates a workspace with its environments.
pub async fn create(call: Call<CreateWorkspace>) -> Outcome<Reply<WorkspaceView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let workspace = Workspace {
        id: WorkspaceId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        slug: call.body.slug.clone(),
        name: call.body.name.clone(),
        version: 1,
        created_at: call.now(),
        archived_at: None,
    };
    store::workspaces::insert(&mut write, &permit, &workspace).await?;
    insert_environments(&call.cx, &mut write, &permit, &workspace).await?;
    let view = view(workspace);
    write.audit(Subject::new("workspace", view.id, &view.slug).within(view.id).created("workspace.create", &view));
    write.commit(view).await
}

/// Renames a workspace.
pub async fn update(call: Call<UpdateWorkspace>) -> Outcome<Reply<WorkspaceView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut workspace = store::workspaces::get(&mut write, call.workspace()?).await?;
    let before = view(workspace.clone());
    workspace.version = seen;
    if let Some(name) = &call.body.name {
        workspace.name = name.clone();
    }
    workspace.version = store::workspaces::update(&mut write, &permit, &workspace).await?;
    let after = view(workspace);
    write.audit(Subject::new("workspace", after.id, &after.slug).within(after.id).changed(
        "workspace.update",
        &before,
        &after,
    ));
    write.commit(after).await
}

/// Archives a workspace: its keys stop working at once.
pub async fn archive(call: Call<ArchiveWorkspace>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let workspace = store::workspaces::get(&mut write, call.workspace()?).await?;
    store::workspaces::archive(&mut write, &permit, workspace.id, call.now()).await?;
    let before = view(workspace);
    write.audit(
        Subject::new("workspace", before.id, &before.slug).within(before.id).removed("workspace.archive", &before),
    );
    write.commit(Empty {}).await
}
