//! The first start of an installation, and what every later start finds of it.
//!
//! The first start is one transaction: organization, workspace, environments, owner, token, key, node group, the built-in
//! echo models and whatever the environment has keys for. Two processes that start together on an empty database found
//! one organization. Secrets made here are returned once and never again.

mod environment;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::audit::Audit;
use domain::environment::Environment;
use domain::id::IdMint as _;
use domain::node::{Holds, NodeGroup};
use domain::user::User;
use domain::{
    AuditEntryId, DisplayName, Email, EnvironmentId, JobName, ModelName, NodeGroupId, OrganizationId, Permit, Role,
    Scope, Secret, UserId, WorkspaceId,
};
use futures_util::future::BoxFuture;
use http::Request;
use store::users::NewPassword;
use store::{AuditDraft, WriteTx};
use zeroize::Zeroizing;

use crate::commands::deployments::{self, Draft};
use crate::commands::organizations::{displayed, found, join, named};
use crate::commands::{access_tokens, nodes, virtual_keys};
use crate::queries;
use operation::auth::password;
use operation::cx::Cx;
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

pub use environment::{FromEnvironment, variables};
pub use provider::listing::MAX_BYTES;

/// Fetches what is at an address, within the egress rules and not more than [`MAX_BYTES`]; the error says why it could not.
pub type Fetch = Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;
/// A start waits this long for all of a server's list of models.
const ASKED_WITHIN: Duration = Duration::from_secs(3);

/// The organization of the first start.
pub const ORGANIZATION: (&str, &str) = ("default", "Default");
/// The owner of the first start.
pub const ADMIN_EMAIL: &str = "admin@localhost";
/// The node group of the first start.
pub const NODE_GROUP: &str = "default";
/// How long the node of the same process has to enrol.
const LOCAL_JOIN_WITHIN: Duration = Duration::from_secs(300);
const TOKEN_NAME: &str = "First access token";
const KEY_NAME: &str = "First key";
/// The environment of the first key.
const KEY_ENVIRONMENT: &str = "development";

/// What an installation begins with.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The first organization.
    pub organization_id: OrganizationId,
    /// Its first workspace.
    pub workspace_id: WorkspaceId,
    /// The workspace's environments by slug, in order of promotion.
    pub environments: Vec<(String, EnvironmentId)>,
    /// The group that the nodes of this machine belong to.
    pub node_group_id: NodeGroupId,
    /// The owner's address.
    pub admin_email: String,
    /// What was made just now and is shown once; none on later starts.
    pub secrets: Option<FirstSecrets>,
}

/// Secrets for the one who started the process, wiped when they have been shown.
#[derive(Debug, Clone)]
pub struct FirstSecrets {
    /// The owner's password.
    pub admin_password: Secret<String>,
    /// A management access token of the owner.
    pub access_token: Secret<String>,
    /// A virtual key.
    pub virtual_key: Secret<String>,
}

/// Founds the installation on an empty database, brings credentials from the environment up to date, and says what there is.
pub async fn run(cx: &Arc<Cx>, environment: &[FromEnvironment]) -> Outcome<Installation> {
    let mut turn = cx.store.system().await?;
    store::signing_keys::lock(&mut turn, "bootstrap").await?;
    let first = store::organizations::list_all(&mut turn).await?.into_iter().next();
    let secrets = match &first {
        Some(_) => None,
        None => Some(found_installation(cx, environment).await?),
    };
    turn.commit().await?;
    if first.is_some() {
        environment::reconcile(cx, environment).await?;
    }
    let mut installation = describe(cx).await?;
    installation.secrets = secrets;
    Ok(installation)
}

async fn found_installation(cx: &Arc<Cx>, environment: &[FromEnvironment]) -> Outcome<FirstSecrets> {
    let id = OrganizationId::from_uuid(cx.mint.next_uuid());
    let permit = Permit::system(JobName::Bootstrap, Scope::Organization(id));
    let password = password::generate(cx.entropy.as_ref());
    let hash = cx.passwords.hash(&password, cx.entropy.as_ref()).await?;
    let listed = futures_util::future::join_all(environment.iter().map(|found| environment::ask(cx, found))).await;
    let mut tx = cx.store.found(id).await?;
    let founded = found(cx, &mut tx, &permit, id, (named(ORGANIZATION.0)?, displayed(ORGANIZATION.1)?)).await?;
    record(
        cx,
        &mut tx,
        &permit,
        Subject::new("organization", id, &founded.organization.slug).act("organization.create"),
    );

    let admin = admin(cx)?;
    store::users::insert(&mut tx, &permit, &admin, Some(NewPassword::Own(&hash))).await?;
    let member = join(cx, &mut tx, &permit, &admin, Role::Owner).await?;
    record(cx, &mut tx, &permit, Subject::new("member", member.id, &member.email).act("member.add"));

    let access_token = issue_token(cx, &mut tx, &permit, &admin).await?;
    let key_environment = first_environment(&founded.environments)?;
    let virtual_key = issue_key(cx, &mut tx, &permit, key_environment).await?;
    insert_node_group(cx, &mut tx, &permit).await?;
    insert_built_in(cx, &mut tx, &permit, founded.workspace.id).await?;
    let mut applied = Vec::new();
    for (found, listed) in environment.iter().zip(&listed) {
        let found = (found, listed.as_ref());
        applied.push(environment::add(cx, &mut tx, &permit, founded.workspace.id, found).await?);
    }
    tx.commit().await?;
    environment::remember(cx, &applied).await?;
    Ok(FirstSecrets { admin_password: shown(password), access_token, virtual_key })
}

fn shown(mut password: Zeroizing<String>) -> Secret<String> {
    Secret::new(std::mem::take(&mut *password))
}

fn admin(cx: &Cx) -> Outcome<User> {
    Ok(User {
        id: UserId::from_uuid(cx.mint.next_uuid()),
        email: Email::parse(ADMIN_EMAIL).map_err(|error| Failure::Internal(error.to_string()))?,
        name: displayed("Administrator")?,
        must_change_password: false,
        version: 1,
        created_at: cx.now(),
        disabled_at: None,
    })
}

/// Writes an act of the system into the transaction.
pub(crate) fn record(cx: &Cx, tx: &mut WriteTx, permit: &Permit, audit: Audit) {
    let (_, name) = permit.actor().describe();
    let id = AuditEntryId::from_uuid(cx.mint.next_uuid());
    tx.audit(permit, AuditDraft { id, at: cx.now(), actor_name: name, audit });
}

async fn issue_token(cx: &Cx, tx: &mut WriteTx, permit: &Permit, owner: &User) -> Outcome<Secret<String>> {
    let holder = (permit.organization(), owner.id);
    let (token, secret) = access_tokens::issue(cx, holder, displayed(TOKEN_NAME)?, None);
    store::access_tokens::insert(tx, permit, &token).await?;
    let view = queries::access_tokens::view(token, owner.email.clone(), cx.now());
    record(cx, tx, permit, Subject::new("access_token", view.id, &view.name).created("access_token.create", &view));
    Ok(Secret::new(secret.expose().to_owned()))
}

fn first_environment(environments: &[Environment]) -> Outcome<&Environment> {
    let wanted = environments.iter().find(|environment| environment.slug.as_str() == KEY_ENVIRONMENT);
    wanted
        .or(environments.first())
        .ok_or_else(|| Failure::conflict("The workspace has no environment; create one first."))
}

async fn issue_key(cx: &Cx, tx: &mut WriteTx, permit: &Permit, environment: &Environment) -> Outcome<Secret<String>> {
    let (key, secret) = virtual_keys::make(cx, environment, displayed(KEY_NAME)?, None);
    store::virtual_keys::insert(tx, permit, &key).await?;
    let view = queries::virtual_keys::view(key, cx.now());
    let subject = Subject::new("virtual_key", view.id, &view.name).within(view.workspace_id);
    record(cx, tx, permit, subject.created("virtual_key.issue", &view));
    Ok(Secret::new(secret.expose().to_owned()))
}

async fn insert_node_group(cx: &Cx, tx: &mut WriteTx, permit: &Permit) -> Outcome<()> {
    let group = NodeGroup {
        id: NodeGroupId::from_uuid(cx.mint.next_uuid()),
        organization_id: permit.organization(),
        slug: named(NODE_GROUP)?,
        region: "local".to_owned(),
        holds: Holds::All,
        version: 1,
        created_at: cx.now(),
    };
    store::nodes::insert_group(tx, permit, &group).await?;
    let view = queries::nodes::group_view(group);
    record(cx, tx, permit, Subject::new("node_group", view.id, &view.slug).created("node_group.create", &view));
    Ok(())
}

/// Adds the models that need no credential, so that the first call works with no account anywhere.
async fn insert_built_in(cx: &Cx, tx: &mut WriteTx, permit: &Permit, workspace: WorkspaceId) -> Outcome<()> {
    let specs = provider::ALL.iter().map(|provider| provider.spec());
    for spec in specs.filter(|spec| !spec.needs_credential) {
        for model in provider::catalog::all().iter().filter(|model| model.provider == spec.name) {
            let name = model_name(&format!("{}/{}", spec.name, model.name))?;
            let (provider, upstream_model) = (spec.name, model.name.as_str());
            let (base_model, credential) = (None, None);
            let draft = Draft { workspace, name, provider, upstream_model, base_model, credential, is_enabled: true };
            insert_model(cx, tx, permit, draft).await?;
        }
    }
    Ok(())
}

async fn insert_model(cx: &Cx, tx: &mut WriteTx, permit: &Permit, draft: Draft<'_>) -> Outcome<()> {
    let view = queries::deployments::view(deployments::insert(cx, tx, permit, draft).await?);
    let subject = Subject::new("deployment", view.id, &view.name).within(view.workspace_id);
    record(cx, tx, permit, subject.created("deployment.create", &view));
    Ok(())
}

fn model_name(text: &str) -> Outcome<ModelName> {
    ModelName::parse(text).map_err(|error| Failure::Internal(format!("{text} is no model name: {error}")))
}

/// Reads what the installation has: its oldest organization, that one's oldest workspace.
pub async fn describe(cx: &Cx) -> Outcome<Installation> {
    let missing = |what: &str| {
        Failure::Internal(format!("the installation has no {what}; start `headgate up` once on this database"))
    };
    let mut tx = cx.store.system().await?;
    let organization =
        store::organizations::list_all(&mut tx).await?.into_iter().next().ok_or_else(|| missing("organization"))?;
    drop(tx);
    let one = operation::page::limit(Some(1))?;
    let mut tx = cx.store.read(organization.id).await?;
    let workspace =
        store::workspaces::list(&mut tx, None, None, one).await?.items.pop().ok_or_else(|| missing("workspace"))?;
    let environments = store::environments::list(&mut tx, workspace.id).await?;
    let group =
        store::nodes::list_groups(&mut tx, None, one).await?.items.pop().ok_or_else(|| missing("node group"))?;
    Ok(Installation {
        organization_id: organization.id,
        workspace_id: workspace.id,
        environments: environments
            .into_iter()
            .map(|environment| (environment.slug.to_string(), environment.id))
            .collect(),
        node_group_id: group.id,
        admin_email: ADMIN_EMAIL.to_owned(),
        secrets: None,
    })
}

/// Makes a new password, access token and virtual key for the administrator; for whoever runs the machine.
///
/// All sessions of the administrator end and the access token of the first start (or of an earlier reset) is revoked.
/// Virtual keys that clients use go on working.
pub async fn reset_admin(cx: &Arc<Cx>) -> Outcome<Installation> {
    let mut installation = describe(cx).await?;
    let organization = installation.organization_id;
    let email = Email::parse(ADMIN_EMAIL).map_err(|error| Failure::Internal(error.to_string()))?;
    let mut system = cx.store.system().await?;
    let known = store::users::find_by_email(&mut system, &email).await?;
    drop(system);
    let password = password::generate(cx.entropy.as_ref());
    let hash = cx.passwords.hash(&password, cx.entropy.as_ref()).await?;

    let permit = Permit::system(JobName::Operator, Scope::Organization(organization));
    let mut tx = cx.store.write(organization).await?;
    let admin = if let Some(admin) = known {
        match store::members::find_by_user(&mut tx, admin.id).await? {
            None => drop(join(cx, &mut tx, &permit, &admin, Role::Owner).await?),
            Some(member) if member.disabled_at.is_some() => {
                store::members::enable(&mut tx, &permit, member.id).await?;
                record(cx, &mut tx, &permit, Subject::new("member", member.id, &admin.email).act("member.enable"));
            }
            Some(_) => {}
        }
        store::users::set_password(&mut tx, &permit, admin.id, NewPassword::Own(&hash)).await?;
        admin
    } else {
        let admin = self::admin(cx)?;
        store::users::insert(&mut tx, &permit, &admin, Some(NewPassword::Own(&hash))).await?;
        join(cx, &mut tx, &permit, &admin, Role::Owner).await?;
        admin
    };
    ensure_owner(cx, &mut tx, &permit, &admin).await?;
    record(cx, &mut tx, &permit, Subject::new("user", admin.id, &admin.email).act("user.reset_password"));
    revoke_first_tokens(cx, &mut tx, &permit, &admin).await?;
    let access_token = issue_token(cx, &mut tx, &permit, &admin).await?;
    let environments = store::environments::list(&mut tx, installation.workspace_id).await?;
    let virtual_key = issue_key(cx, &mut tx, &permit, first_environment(&environments)?).await?;
    store::sessions::delete_all(&mut tx, admin.id, None).await?;
    tx.commit().await?;
    installation.secrets = Some(FirstSecrets { admin_password: shown(password), access_token, virtual_key });
    Ok(installation)
}

/// Gives the administrator ownership back, should somebody have taken it.
async fn ensure_owner(cx: &Cx, tx: &mut WriteTx, permit: &Permit, admin: &User) -> Outcome<()> {
    let Some(member) = store::members::find_by_user(tx, admin.id).await? else { return Ok(()) };
    let here = Scope::Organization(permit.organization());
    let bindings = store::members::list_bindings(tx, Some(&[member.id])).await?;
    if bindings.iter().any(|binding| binding.role == Role::Owner && binding.scope == here) {
        return Ok(());
    }
    let binding = domain::member::RoleBinding {
        id: domain::RoleBindingId::from_uuid(cx.mint.next_uuid()),
        organization_id: permit.organization(),
        member_id: member.id,
        role: Role::Owner,
        scope: here,
        created_at: cx.now(),
    };
    store::members::bind(tx, permit, &binding).await?;
    let view = queries::members::binding_view(&binding);
    record(cx, tx, permit, Subject::new("role_binding", view.id, &admin.email).created("role_binding.bind", &view));
    Ok(())
}

async fn revoke_first_tokens(cx: &Cx, tx: &mut WriteTx, permit: &Permit, admin: &User) -> Outcome<()> {
    let name: DisplayName = displayed(TOKEN_NAME)?;
    let page = store::access_tokens::list(tx, Some(admin.id), None, operation::page::limit(Some(200))?).await?;
    for token in page.items.into_iter().filter(|token| token.name == name && token.revoked_at.is_none()) {
        store::access_tokens::revoke(tx, permit, token.id, cx.now()).await?;
        record(cx, tx, permit, Subject::new("access_token", token.id, &token.name).act("access_token.revoke"));
    }
    Ok(())
}

/// Issues a join token for the node of this very process, which enrols through the link like any other.
pub async fn issue_local_join_token(cx: &Arc<Cx>, installation: &Installation) -> Outcome<String> {
    let permit = Permit::system(JobName::Bootstrap, Scope::Organization(installation.organization_id));
    let mut tx = cx.store.write(installation.organization_id).await?;
    let group = store::nodes::get_group(&mut tx, installation.node_group_id).await?;
    let (token, secret) = nodes::issue(cx, &group, LOCAL_JOIN_WITHIN);
    store::join_tokens::insert(&mut tx, &permit, &token).await?;
    let view = queries::nodes::join_token_view(&token);
    record(cx, &mut tx, &permit, Subject::new("join_token", view.id, &group.slug).created("join_token.create", &view));
    tx.commit().await?;
    Ok(secret)
}
