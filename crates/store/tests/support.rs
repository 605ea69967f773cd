//! A migrated database with organizations to act in, and constructors of valid entities.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::audit::Audit;
use domain::environment::Environment;
use domain::id::uuid_v7;
use domain::organization::Organization;
use domain::secret::{Kid, TokenMac};
use domain::virtual_key::{KeySecret, VirtualKey};
use domain::workspace::Workspace;
use domain::{
    AuditEntryId, EnvironmentId, JobName, OrganizationId, Permit, Scope, Timestamp, VirtualKeyId, WorkspaceId,
};
use store::testing::TestDatabase;
use store::{AuditDraft, Store, WriteTx, environments, organizations, workspaces};

/// 2026-11-22T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_795_348_800_000_000);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Mints an id whose time is `NOON` and whose rest counts up.
pub(crate) fn uuid() -> u128 {
    uuid_at(NOON)
}

pub(crate) fn uuid_at(at: Timestamp) -> u128 {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    uuid_v7(at, random)
}

pub(crate) fn kid() -> Kid {
    Kid::parse(&format!("k{:011}", NEXT.fetch_add(1, Ordering::Relaxed))).expect("twelve letters and digits")
}

pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid name")
}

/// One organization with a workspace and an environment.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) id: OrganizationId,
    pub(crate) workspace: Workspace,
    pub(crate) environment: Environment,
}

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) store: Store,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await.expect("a test database");
        let store = database.store().await.expect("a store");
        Self { database, store }
    }

    pub(crate) async fn tenant(&self, slug: &str) -> Tenant {
        let id = OrganizationId::from_uuid(uuid());
        let organization = Organization {
            id,
            slug: name(slug),
            name: name(slug),
            max_stale: Organization::DEFAULT_MAX_STALE,
            response_retention: Organization::DEFAULT_RESPONSE_RETENTION,
            version: 1,
            created_at: NOON,
        };
        let workspace = Workspace {
            id: WorkspaceId::from_uuid(uuid()),
            organization_id: id,
            slug: name("main"),
            name: name("Main"),
            version: 1,
            created_at: NOON,
            archived_at: None,
        };
        let environment = Environment {
            id: EnvironmentId::from_uuid(uuid()),
            organization_id: id,
            workspace_id: workspace.id,
            slug: name("development"),
            name: name("Development"),
            position: 0,
            version: 1,
            created_at: NOON,
        };
        let permit = permit(id);
        let mut tx = self.store.found(id).await.expect("a transaction");
        organizations::insert(&mut tx, &permit, &organization).await.expect("a new organization");
        workspaces::insert(&mut tx, &permit, &workspace).await.expect("a new workspace");
        environments::insert(&mut tx, &permit, &environment).await.expect("a new environment");
        note(&mut tx, &permit, "organization.create");
        assert_eq!(tx.commit().await.expect("committed"), 1);
        Tenant { id, workspace, environment }
    }
}

pub(crate) const fn permit(organization: OrganizationId) -> Permit {
    Permit::system(JobName::Bootstrap, Scope::Organization(organization))
}

/// Records an audit entry, as every permitted write must.
pub(crate) fn note(tx: &mut WriteTx, permit: &Permit, action: &'static str) {
    let audit = Audit::new(action, "thing", &"id", &"name");
    let id = AuditEntryId::from_uuid(uuid());
    tx.audit(permit, AuditDraft { id, at: NOON, actor_name: "tests".to_owned(), audit });
}

pub(crate) fn key(tenant: &Tenant, title: &str) -> VirtualKey {
    VirtualKey {
        id: VirtualKeyId::from_uuid(uuid()),
        organization_id: tenant.id,
        workspace_id: tenant.workspace.id,
        environment_id: tenant.environment.id,
        name: name(title),
        kid: kid(),
        secrets: vec![KeySecret {
            mac: TokenMac::from_bytes([7; 32]),
            pepper_version: 1,
            issued_at: NOON,
            retires_at: None,
        }],
        allowed_models: vec![name("gpt-4o*")],
        created_by: None,
        expires_at: None,
        revoked_at: None,
        revoked_because: None,
        last_used_at: None,
        old_secret_used_at: None,
        version: 1,
        created_at: NOON,
    }
}
