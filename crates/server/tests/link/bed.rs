//! A control plane over a database of its own, and nodes that join it. Shared by the stories and by the `push` benchmark.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::bootstrap::{self, Installation};
use domain::audit::Audit;
use domain::id::IdMint as _;
use domain::secret::{TokenKind, TokenSecret};
use domain::time::ManualClock;
use domain::virtual_key::{KeySecret, VirtualKey};
use domain::{AuditEntryId, Clock, DisplayName, JobName, OrganizationId, Permit, Scope, Timestamp, VirtualKeyId};
use downlink::sync::{SyncHandle, SyncServerConfig};
use link::sync::transport::ControlAddress;
use link::sync::{Link, Load, StartError, SyncConfig};
use operation::{ControlConfig, Cx, Keyring, LocalKey, Ports};
use policy::KeyRefusal;
use runtime::clock::SystemClock;
use runtime::health::Readiness;
use runtime::rng::SystemEntropy;
use runtime::tasks::Group;
use store::testing::TestDatabase;
use store::{AuditDraft, WriteTx};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing in these stories takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `found` finds something.
pub(crate) async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        ticks.tick().await;
    }
}

/// A control plane.
pub(crate) struct Bed {
    pub(crate) cx: Arc<Cx>,
    pub(crate) installation: Installation,
    pub(crate) key: String,
    pub(crate) handle: SyncHandle,
    group: Group,
    database: TestDatabase,
    config: SyncServerConfig,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(SyncServerConfig::default()).await
    }

    /// A control plane with other bounds than usual; revocations and groups are looked up often.
    pub(crate) async fn with(config: SyncServerConfig) -> Self {
        runtime::tls::install_crypto_provider();
        let database = TestDatabase::create().await.expect("a test database");
        let config = SyncServerConfig { poll: Duration::from_millis(200), ..config };
        let (cx, handle, group) = Self::serve(&database, &config, "127.0.0.1:0").await;
        let mut installation = bootstrap::run(&cx, &[]).await.expect("a first start");
        let key = installation.secrets.take().expect("first secrets").virtual_key.expose().clone();
        Self { cx, installation, key, handle, group, database, config }
    }

    async fn serve(database: &TestDatabase, config: &SyncServerConfig, address: &str) -> (Arc<Cx>, SyncHandle, Group) {
        let store = database.store().await.expect("an open store");
        let root_key = LocalKey::new([7; 32]);
        let keyring = Keyring::open(&root_key, &store, &SystemEntropy, SystemClock.now()).await.expect("a keyring");
        let ports = Ports { store, clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), keyring };
        let cx = Cx::new(ports, ControlConfig::default()).expect("a context");
        let listener = TcpListener::bind(address).await.expect("a port");
        let group = Group::new();
        let handle =
            downlink::sync::start(Arc::clone(&cx), config.clone(), Some(listener), &group).await.expect("a link");
        (cx, handle, group)
    }

    /// Stops serving nodes; the database stays.
    pub(crate) async fn go_dark(&self) {
        self.group.drain(Duration::from_secs(5)).await;
    }

    /// Goes dark and copies the database.
    pub(crate) async fn back_up(&self) -> TestDatabase {
        self.go_dark().await;
        self.cx.store.close().await;
        self.database.copy().await.expect("a copy")
    }

    /// Serves from another database from now on.
    pub(crate) async fn restore(&mut self, database: TestDatabase) {
        self.database = database;
        self.come_back().await;
    }

    /// Serves nodes from another database as well, at an address of its own, as a replica that fell behind would.
    pub(crate) async fn beside(&self, database: TestDatabase) -> Self {
        let (cx, handle, group) = Self::serve(&database, &self.config, "127.0.0.1:0").await;
        let (installation, key, config) = (self.installation.clone(), self.key.clone(), self.config.clone());
        Self { cx, installation, key, handle, group, database, config }
    }

    /// Serves again at the same address, as a new process would.
    pub(crate) async fn come_back(&mut self) {
        let address = self.handle.address.expect("an address").to_string();
        (self.cx, self.handle, self.group) = Self::serve(&self.database, &self.config, &address).await;
    }

    pub(crate) const fn database(&self) -> &TestDatabase {
        &self.database
    }

    pub(crate) fn organization(&self) -> OrganizationId {
        self.installation.organization_id
    }

    pub(crate) fn tcp(&self) -> ControlAddress {
        ControlAddress::parse(&self.handle.address.expect("an address").to_string()).expect("an address")
    }

    pub(crate) fn pipe(&self) -> ControlAddress {
        ControlAddress::InProcess(self.handle.pipes.clone())
    }

    pub(crate) async fn join_token(&self) -> String {
        bootstrap::issue_local_join_token(&self.cx, &self.installation).await.expect("a join token")
    }

    /// Joins a node in a folder of its own.
    pub(crate) async fn join(&self, address: ControlAddress) -> TestNode {
        let token = self.join_token().await;
        let folder = tempfile::tempdir().expect("a folder");
        TestNode::start(folder, address, Some(token)).await.expect("a node")
    }

    /// Writes as the system does, with the audit entry that the store demands.
    pub(crate) async fn write<T>(
        &self,
        change: impl AsyncFnOnce(&mut WriteTx, &Permit) -> store::Result<T>,
    ) -> (T, u64) {
        let permit = Permit::system(JobName::Operator, Scope::Organization(self.organization()));
        let mut tx = self.cx.store.write(self.organization()).await.expect("a turn");
        let value = change(&mut tx, &permit).await.expect("a change");
        let id = AuditEntryId::from_uuid(self.cx.mint.next_uuid());
        let audit = Audit::new("test.arrange", "test", &"", &"");
        tx.audit(&permit, AuditDraft { id, at: self.cx.now(), actor_name: "test".to_owned(), audit });
        (value, tx.commit().await.expect("a commit"))
    }

    /// A key that is not stored yet, with its token.
    pub(crate) fn new_key(&self) -> (VirtualKey, String) {
        let organization_id = self.organization();
        let token = TokenSecret::generate(TokenKind::VirtualKey, 'd', self.cx.entropy.as_ref());
        let mac = token.mac(&self.cx.key_pepper(organization_id), &organization_id.to_string());
        let now = self.cx.now();
        let key = VirtualKey {
            id: VirtualKeyId::from_uuid(self.cx.mint.next_uuid()),
            organization_id,
            workspace_id: self.installation.workspace_id,
            environment_id: self.installation.environments[0].1,
            name: DisplayName::parse("test").expect("a name"),
            kid: token.kid(),
            secrets: vec![KeySecret {
                mac,
                pepper_version: self.cx.keyring.version(),
                issued_at: now,
                retires_at: None,
            }],
            allowed_models: Vec::new(),
            created_by: None,
            expires_at: None,
            revoked_at: None,
            revoked_because: None,
            last_used_at: None,
            old_secret_used_at: None,
            version: 1,
            created_at: now,
        };
        (key, token.expose().to_owned())
    }

    /// Issues a key; returns it with its token and the revision that has it.
    pub(crate) async fn issue_key(&self) -> (VirtualKey, String, u64) {
        let (key, token) = self.new_key();
        let ((), revision) = self.write(async |tx, permit| store::virtual_keys::insert(tx, permit, &key).await).await;
        (key, token, revision)
    }

    pub(crate) async fn revoke_key(&self, id: VirtualKeyId) -> u64 {
        let now = self.cx.now();
        self.write(async |tx, permit| store::virtual_keys::revoke(tx, permit, id, now).await).await.1
    }
}

/// A node without its data plane: the link and the policy that requests would read.
pub(crate) struct TestNode {
    pub(crate) link: Link,
    pub(crate) readiness: Readiness,
    pub(crate) clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<Option<()>>,
}

impl TestNode {
    pub(crate) async fn start(
        folder: tempfile::TempDir,
        address: ControlAddress,
        join_token: Option<String>,
    ) -> Result<Self, StartError> {
        Self::start_at(folder, address, join_token, SystemClock.now()).await
    }

    /// Starts a node whose clock stands at `now`.
    pub(crate) async fn start_at(
        folder: tempfile::TempDir,
        address: ControlAddress,
        join_token: Option<String>,
        now: Timestamp,
    ) -> Result<Self, StartError> {
        let mut config = Self::config(&folder, address);
        config.join_token = join_token;
        Self::start_with(folder, config, now).await
    }

    /// What a node in this folder starts with; quick to come back and to report.
    pub(crate) fn config(folder: &tempfile::TempDir, address: ControlAddress) -> SyncConfig {
        SyncConfig {
            name: "test node".to_owned(),
            backoff: (Duration::from_millis(20), Duration::from_millis(200)),
            report: Duration::from_millis(200),
            ..SyncConfig::new(address, folder.path().to_path_buf())
        }
    }

    pub(crate) async fn start_with(
        folder: tempfile::TempDir,
        config: SyncConfig,
        now: Timestamp,
    ) -> Result<Self, StartError> {
        let clock = Arc::new(ManualClock::new(now));
        let readiness = Readiness::new();
        let ports = link::sync::Ports {
            clock: Arc::<ManualClock>::clone(&clock),
            entropy: Arc::new(SystemEntropy),
            readiness: readiness.clone(),
            load: Arc::new(|| Load { spool_events: 3, ..Load::default() }),
        };
        let stop = CancellationToken::new();
        let started = link::sync::start(config, ports, &stop).await?;
        let link = started.link();
        let task = runtime::tasks::spawn("test.node", started.run(stop.clone()));
        Ok(Self { link, readiness, clock, folder, stop, task })
    }

    /// Stops in good order and gives the folder back for another start.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.task.await.expect("the node's task");
        self.folder
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The sealed copy of an organization.
    pub(crate) fn copy_of(&self, organization: OrganizationId) -> PathBuf {
        self.folder.path().join(format!("policy/{organization}.sealed"))
    }

    pub(crate) fn identify(&self, token: &str) -> Result<(), KeyRefusal> {
        self.link.policy().load().identify(token, self.clock.now()).map(|_| ())
    }

    pub(crate) fn revision(&self, organization: OrganizationId) -> u64 {
        self.link.policy().load().organization(organization).map_or(0, |policy| policy.revision)
    }

    pub(crate) async fn until_accepts(&self, token: &str) {
        until("the node accepts the key", async || self.identify(token).ok()).await;
    }

    pub(crate) async fn until_refuses(&self, token: &str, refusal: KeyRefusal) {
        let what = format!("the node refuses the key as {refusal:?}");
        until(&what, async || (self.identify(token) == Err(refusal)).then_some(())).await;
    }
}
