//! A control plane of its own per test, and actors who call it.

use std::sync::Arc;
use std::time::Duration;

use api::{Client, ClientError, Method, Operation, Problem};
use axum::Router;
use axum::body::{Body, to_bytes};
use control::Assets;
use control::bootstrap::{self, FirstSecrets, FromEnvironment, Installation};
use domain::access_token::AccessToken;
use domain::id::IdMint as _;
use domain::member::{Member, RoleBinding};
use domain::organization::Organization;
use domain::secret::{TokenKind, TokenSecret};
use domain::time::ManualClock;
use domain::user::User;
use domain::{
    AccessTokenId, Clock as _, DisplayName, Email, JobName, MemberId, OrganizationId, Permit, Role, RoleBindingId,
    Scope, Timestamp, UserId, WorkspaceId,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use operation::{ControlConfig, Cx, Keyring, LocalKey, Ports};
use runtime::health::Readiness;
use runtime::rng::SystemEntropy;
use store::AuditDraft;
use store::testing::TestDatabase;
use tower::ServiceExt as _;

/// When every world begins.
pub(crate) const START: &str = "2026-11-22T09:00:00Z";

/// The root key of every world.
pub(crate) const ROOT_KEY: [u8; 32] = [7; 32];

/// A control plane over a database of its own.
pub struct World {
    pub database: TestDatabase,
    pub cx: Arc<Cx>,
    pub router: Router,
    pub clock: Arc<ManualClock>,
    pub installation: Installation,
    pub secrets: Secrets,
}

/// The secrets of a first start or a reset, in clear.
pub struct Secrets {
    pub admin_password: String,
    pub access_token: String,
    pub virtual_key: String,
}

impl Secrets {
    pub fn of(first: &FirstSecrets) -> Self {
        Self {
            admin_password: first.admin_password.expose().clone(),
            access_token: first.access_token.expose().clone(),
            virtual_key: first.virtual_key.expose().clone(),
        }
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(ControlConfig::default(), &[]).await
    }

    pub async fn with(config: ControlConfig, environment: &[FromEnvironment]) -> Self {
        let database = TestDatabase::create().await.expect("a test database");
        let clock = Arc::new(ManualClock::new(START.parse().expect("a valid instant")));
        let store = database.store().await.expect("an open store");
        let root = LocalKey::new(ROOT_KEY);
        let keyring = Keyring::open(&root, &store, &SystemEntropy, clock.now()).await.expect("a keyring");
        let ports =
            Ports { store, clock: Arc::<ManualClock>::clone(&clock), entropy: Arc::new(SystemEntropy), keyring };
        let cx = Cx::new(ports, config).expect("a context");
        let mut installation = bootstrap::run(&cx, environment).await.expect("a first start");
        let secrets = Secrets::of(&installation.secrets.take().expect("first secrets"));
        let assets = Assets { console: None, openapi: "{}" };
        let router = control::http::router(Arc::clone(&cx), assets, Arc::new(Readiness::new())).expect("a whole table");
        Self { database, cx, router, clock, installation, secrets }
    }

    pub fn organization(&self) -> OrganizationId {
        self.installation.organization_id
    }

    pub fn workspace(&self) -> WorkspaceId {
        self.installation.workspace_id
    }

    pub fn environment(&self, slug: &str) -> domain::EnvironmentId {
        self.installation.environments.iter().find(|(name, _)| name == slug).expect("a default environment").1
    }

    pub fn now(&self) -> Timestamp {
        self.cx.now()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The administrator of the first start, by access token.
    pub fn as_owner(&self) -> Actor<'_> {
        self.bearer(&self.secrets.access_token)
    }

    /// Nobody.
    pub fn anonymous(&self) -> Actor<'_> {
        Actor { world: self, headers: HeaderMap::new() }
    }

    pub fn bearer(&self, token: &str) -> Actor<'_> {
        self.anonymous().with(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// A member of the first organization who holds one role at one place.
    pub async fn as_role(&self, role: Role, scope: Scope) -> Actor<'_> {
        let token = self.member(role, scope).await;
        self.bearer(&token)
    }

    pub async fn as_viewer(&self) -> Actor<'_> {
        self.as_role(Role::Viewer, Scope::Organization(self.organization())).await
    }

    /// The owner of another organization, who sees nothing of the first.
    pub async fn as_stranger(&self) -> (Actor<'_>, OrganizationId, WorkspaceId) {
        let id = OrganizationId::from_uuid(self.cx.mint.next_uuid());
        let slug = format!("other-{}", &id.to_string()[20..]);
        let permit = Permit::system(JobName::Bootstrap, Scope::Organization(id));
        let mut tx = self.cx.store.found(id).await.expect("a founding");
        let name = DisplayName::parse("Other").expect("a name");
        let founded = control::commands::organizations::found(
            &self.cx,
            &mut tx,
            &permit,
            id,
            (slug.parse().expect("a slug"), name),
        )
        .await
        .expect("an organization");
        self.record(&mut tx, &permit);
        tx.commit().await.expect("a commit");
        let token = self.member(Role::Owner, Scope::Organization(id)).await;
        (self.bearer(&token), id, founded.workspace.id)
    }

    pub fn record(&self, tx: &mut store::WriteTx, permit: &Permit) {
        let id = domain::AuditEntryId::from_uuid(self.cx.mint.next_uuid());
        let audit = domain::audit::Audit::new("test.arrange", "test", &"", &"");
        tx.audit(permit, AuditDraft { id, at: self.now(), actor_name: "test".to_owned(), audit });
    }

    /// Adds a person with a role and gives their access token. No password is set, so no time is spent on hashing.
    pub async fn member(&self, role: Role, scope: Scope) -> String {
        let (organization_id, now) = (scope.organization(), self.now());
        let permit = Permit::system(JobName::Bootstrap, Scope::Organization(organization_id));
        let user_id = UserId::from_uuid(self.cx.mint.next_uuid());
        let user = User {
            id: user_id,
            email: Email::parse(&format!("{role}.{user_id}@example.com")).expect("an address"),
            name: DisplayName::parse(role.title()).expect("a name"),
            must_change_password: false,
            version: 1,
            created_at: now,
            disabled_at: None,
        };
        let member = Member {
            id: MemberId::from_uuid(self.cx.mint.next_uuid()),
            organization_id,
            user_id,
            email: user.email.clone(),
            name: user.name.clone(),
            created_at: now,
            disabled_at: None,
        };
        let id = RoleBindingId::from_uuid(self.cx.mint.next_uuid());
        let binding = RoleBinding { id, organization_id, member_id: member.id, role, scope, created_at: now };
        let secret = TokenSecret::generate(TokenKind::AccessToken, 't', &SystemEntropy);
        let token = AccessToken {
            id: AccessTokenId::from_uuid(self.cx.mint.next_uuid()),
            organization_id,
            user_id,
            name: DisplayName::parse("test").expect("a name"),
            kid: secret.kid(),
            mac: secret.mac(&self.cx.keyring.token_pepper(1), operation::auth::TOKEN_SCOPE),
            pepper_version: 1,
            old_secret: None,
            created_at: now,
            rotated_at: None,
            expires_at: None,
            revoked_at: None,
            revoked_because: None,
            last_used_at: Some(now),
        };
        let mut tx = self.cx.store.write(organization_id).await.expect("a write");
        store::users::insert(&mut tx, &permit, &user, None).await.expect("a user");
        store::members::insert(&mut tx, &permit, &member).await.expect("a member");
        store::members::bind(&mut tx, &permit, &binding).await.expect("a binding");
        store::access_tokens::insert(&mut tx, &permit, &token).await.expect("a token");
        self.record(&mut tx, &permit);
        tx.commit().await.expect("a commit");
        secret.expose().to_owned()
    }

    /// Binds one more role to the member who was added last.
    pub async fn bind_last(&self, role: Role, scope: Scope) {
        let mut tx = self.cx.store.read(scope.organization()).await.expect("a read");
        let most = domain::Limit::new(domain::Limit::MAX).expect("a limit");
        let member_id = store::members::list(&mut tx, None, most).await.expect("members").items.pop().expect("one").id;
        drop(tx);
        self.bind_to(member_id, role, scope).await;
    }

    /// Binds a role to a member.
    pub async fn bind_to(&self, member_id: MemberId, role: Role, scope: Scope) {
        let (organization_id, now) = (scope.organization(), self.now());
        let permit = Permit::system(JobName::Bootstrap, Scope::Organization(organization_id));
        let mut tx = self.cx.store.write(organization_id).await.expect("a write");
        let id = RoleBindingId::from_uuid(self.cx.mint.next_uuid());
        let binding = RoleBinding { id, organization_id, member_id, role, scope, created_at: now };
        store::members::bind(&mut tx, &permit, &binding).await.expect("a binding");
        self.record(&mut tx, &permit);
        tx.commit().await.expect("a commit");
    }

    /// The first organization as it is stored.
    pub async fn stored_organization(&self) -> Organization {
        let mut tx = self.cx.store.read(self.organization()).await.expect("a read");
        store::organizations::get(&mut tx).await.expect("the organization")
    }
}

/// Somebody who calls the management API.
#[derive(Clone)]
pub struct Actor<'a> {
    pub world: &'a World,
    pub headers: HeaderMap,
}

/// A raw answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn problem(&self) -> Problem {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{} is no problem: {error}", self.body))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{} is no JSON: {error}", self.body))
    }
}

impl Actor<'_> {
    /// The same actor with one more header.
    pub fn with(mut self, name: impl http::header::IntoHeaderName, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// Sends a request as it is.
    pub async fn send(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_owned()))).expect("a request");
        let response = self.world.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a whole body");
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).expect("text") }
    }

    /// Performs an operation through the typed client.
    pub async fn call<O: Operation>(
        &self,
        path: O::Path,
        query: O::Query,
        body: O::Body,
    ) -> Result<O::Reply, ClientError> {
        Client::new(self).call::<O>(&path, &query, &body).await
    }

    /// Performs an operation that must be refused, and returns the problem.
    pub async fn refused<O: Operation>(&self, path: O::Path, query: O::Query, body: O::Body) -> Problem
    where
        O::Reply: std::fmt::Debug,
    {
        match self.call::<O>(path, query, body).await {
            Err(ClientError::Problem(problem)) => *problem,
            other => panic!("{} was not refused: {other:?}", O::META.name),
        }
    }
}

impl api::Transport for &Actor<'_> {
    type Error = String;

    async fn send(&self, request: api::Request) -> Result<api::Response, String> {
        let mut actor = (*self).clone();
        for (name, value) in request.headers {
            actor.headers.insert(name, HeaderValue::from_str(&value).map_err(|error| error.to_string())?);
        }
        if actor.headers.contains_key(header::COOKIE) && request.method != Method::Get {
            actor.headers.insert(api::CSRF_HEADER, HeaderValue::from_static("1"));
        }
        let answer =
            Actor::send(&actor, request.method.as_str(), &request.path_and_query, request.body.as_deref()).await;
        Ok(api::Response { status: answer.status.as_u16(), body: answer.body })
    }
}
