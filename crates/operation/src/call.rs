//! One decided call: what a command or query is given, and what it gives back.
//!
//! A [`Call`] exists only after authentication and the access decision (its constructor is visible to `http::mount` alone). A
//! [`Write`] is the organization's write transaction with everything that must happen in it: replay of idempotent requests,
//! the audit entry with origin and actor, the policy dry run, and storing the answer.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use api::{Meta, Operation};
use axum::body::Body;
use domain::audit::{Audit, Origin};
use domain::code::ProblemCode;
use domain::id::IdMint as _;
use domain::{ActorKind, AuditEntryId, OrganizationId, Permit, RequestId, Timestamp, UserId, WorkspaceId};
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use store::idempotency::Known;
use store::{AuditDraft, Tx, WriteTx};

use crate::auth::Caller;
use crate::cx::Cx;
use crate::error::{Failure, Outcome};
use crate::http::idempotency::{Replay, Ticket};
use crate::http::mount;
use crate::resources;
use crate::visibility::Decision;

/// A call of operation `O` that has been decided.
pub struct Call<O: Operation> {
    pub(crate) head: Head,
    /// Path parameters.
    pub path: O::Path,
    /// Query parameters.
    pub query: O::Query,
    /// The body.
    pub body: O::Body,
}

impl<O: Operation> std::fmt::Debug for Call<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("operation", &O::META.name).finish_non_exhaustive()
    }
}

impl<O: Operation> Call<O> {
    /// From here on somebody else acts: who has just signed in.
    pub fn act_as(&mut self, caller: Caller) {
        self.head.caller = caller;
    }
}

impl<O: Operation> Deref for Call<O> {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

/// The part of a call that does not depend on the operation's types.
#[non_exhaustive]
pub struct Head {
    /// The control plane's context.
    pub cx: Arc<Cx>,
    /// What is called.
    pub meta: &'static Meta,
    /// Who calls.
    pub caller: Caller,
    /// What was decided.
    pub decision: Decision,
    /// Where the call came from, for the audit log.
    pub origin: Origin,
    /// The caller's address.
    pub address: Option<IpAddr>,
    /// The name under which this was reached.
    pub host: Option<String>,
    /// The mark of a browser that signed in before.
    pub device: Option<String>,
    /// What makes it idempotent.
    pub ticket: Option<Ticket>,
    /// The version of `If-Match`.
    pub if_match: Option<u64>,
    /// `If-None-Match` as it came.
    pub if_none_match: Option<HeaderValue>,
    /// The request's id.
    pub request_id: RequestId,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head")
            .field("operation", &self.meta.name)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Head {
    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.cx.now()
    }

    /// Returns the proof of the decision.
    ///
    /// Errors: only for operations that are decided without an organization (public, own, operator).
    pub fn permit(&self) -> Outcome<&Permit> {
        self.decision
            .permit()
            .ok_or_else(|| Failure::Internal(format!("{} was decided without a permit", self.meta.name)))
    }

    /// Returns the organization of the decision.
    pub fn organization(&self) -> Outcome<OrganizationId> {
        Ok(self.permit()?.organization())
    }

    /// Returns the workspace of the decision.
    pub fn workspace(&self) -> Outcome<WorkspaceId> {
        let workspace = self.permit()?.scope().workspace();
        workspace.ok_or_else(|| Failure::Internal(format!("{} was decided without a workspace", self.meta.name)))
    }

    /// Returns the signed-in person.
    pub fn user(&self) -> Outcome<UserId> {
        self.caller.actor.kind.user().ok_or_else(|| Failure::unauthenticated("Sign in, or send an access token."))
    }

    /// Begins a read of the organization.
    pub async fn read(&self) -> Outcome<Tx> {
        Ok(self.cx.store.read(self.organization()?).await?)
    }

    /// Begins the organization's write under the call's permit; answers a repeated request from the first one's answer.
    pub async fn write(&self) -> Outcome<Write<'_>> {
        let permit = self.permit()?.clone();
        self.write_as(permit).await
    }

    /// Begins a write under another permit (one's own things; the operator's new organization).
    pub async fn write_as(&self, permit: Permit) -> Outcome<Write<'_>> {
        let tx = self.cx.store.write(permit.organization()).await?;
        self.resume(tx, permit).await
    }

    /// Wraps the founding of an organization, which has no past to replay from.
    pub fn unreplayed(&self, tx: WriteTx, permit: Permit) -> Write<'_> {
        Write { tx, head: self, permit, is_remembered: false }
    }

    async fn resume(&self, mut tx: WriteTx, permit: Permit) -> Outcome<Write<'_>> {
        if let Some(ticket) = &self.ticket {
            match store::idempotency::find(&mut tx, &ticket.actor, &ticket.key, &ticket.request_hash).await? {
                Known::Nothing => {}
                Known::OtherRequest => return Err(Ticket::mismatch()),
                Known::Answered { response, .. } => {
                    let replay = ticket.open(&response, &self.cx.keyring)?;
                    return Err(Failure::Replay(Box::new(replay)));
                }
            }
        }
        Ok(Write { tx, head: self, permit, is_remembered: true })
    }

    /// Returns the version that the caller has seen, from `If-Match` or the body; they must agree.
    pub fn seen_version(&self, in_body: Option<u64>) -> Outcome<u64> {
        match (self.if_match, in_body) {
            (Some(header), Some(body)) if header != body => {
                Err(Failure::invalid("/version", "differs from If-Match; send one of the two"))
            }
            (Some(version), _) | (None, Some(version)) => Ok(version),
            (None, None) => Err(Failure::of(
                ProblemCode::VersionRequired,
                "Send the version you have seen, as If-Match or as the field version, so that nobody's change is lost.",
            )),
        }
    }

    /// Keeps what the audit log needs should the handler find a permission missing.
    pub(crate) fn witness(&self) -> mount::Witness {
        mount::Witness {
            cx: Arc::clone(&self.cx),
            meta: self.meta,
            caller: self.caller.clone(),
            organization: self.decision.permit().map(Permit::organization),
            origin: self.origin.clone(),
        }
    }

    /// Makes an entry of the audit log of what this call did.
    #[must_use]
    pub fn draft(&self, mut audit: Audit) -> AuditDraft {
        audit.origin = self.origin.clone();
        let id = AuditEntryId::from_uuid(self.cx.mint.next_uuid());
        AuditDraft { id, at: self.now(), actor_name: self.caller.name.clone(), audit }
    }
}

/// The write of one call.
#[must_use = "a write takes effect only when committed"]
pub struct Write<'a> {
    tx: WriteTx,
    head: &'a Head,
    permit: Permit,
    is_remembered: bool,
}

impl std::fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write").field("permit", &self.permit).finish_non_exhaustive()
    }
}

impl Write<'_> {
    /// Returns the proof under which this write runs.
    #[must_use]
    pub fn permit(&self) -> Permit {
        self.permit.clone()
    }

    /// Records what was done.
    pub fn audit(&mut self, audit: Audit) {
        let draft = self.head.draft(audit);
        self.tx.audit(&self.permit, draft);
    }

    /// Records it in the log of another organization, too, which must come after this one.
    pub fn audit_elsewhere(&mut self, permit: &Permit, audit: Audit) -> Outcome<()> {
        let draft = self.head.draft(audit);
        Ok(self.tx.audit_elsewhere(permit, draft)?)
    }

    /// Compiles the changes as a node would. Commands check their input, so what is found here is a rule they miss.
    async fn dry_run(&mut self) -> Outcome<()> {
        let bad = resources::check(&mut self.tx, &self.head.cx).await;
        let bad = bad.map_err(|error| Failure::Internal(crate::error::chain(&error)))?;
        let Some(first) = bad.first() else { return Ok(()) };
        let detail = format!("Nodes could not use {} after this change: {}.", first.location.key, first.reason);
        tracing::warn!(operation = self.head.meta.name, detail, "a change was refused by the policy check");
        Err(Failure::of(ProblemCode::ValidationFailed, detail))
    }

    /// Stores the answer if the request is idempotent, checks the policy, and commits.
    pub async fn commit<T: Serialize>(mut self, value: T) -> Outcome<Reply<T>> {
        if let Some(ticket) = self.head.ticket.as_ref().filter(|_| self.is_remembered) {
            let replay = Replay { status: self.head.meta.status, body: mount::to_text(&value)? };
            let sealed = ticket.seal(&replay, &self.head.cx.keyring, self.head.cx.entropy.as_ref())?;
            let (by, answer) = ((ticket.actor.as_str(), ticket.key.as_str()), (replay.status, sealed.as_slice()));
            store::idempotency::insert(&mut self.tx, by, &ticket.request_hash, answer, self.head.now()).await?;
        }
        self.dry_run().await?;
        let revision = self.tx.commit().await?;
        self.head.cx.metrics.writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::debug!(policy.revision = revision, operation = self.head.meta.name, "committed");
        Ok(Reply::new(value))
    }
}

impl Deref for Write<'_> {
    type Target = WriteTx;

    fn deref(&self) -> &WriteTx {
        &self.tx
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut WriteTx {
        &mut self.tx
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply<T> {
    body: ReplyBody<T>,
    parts: ReplyParts,
}

/// What the answer carries.
#[derive(Debug)]
pub enum ReplyBody<T> {
    /// One JSON value.
    Value(T),
    /// A text of this media type, written while it is sent.
    Text(&'static str, Body),
}

/// What goes beside the body.
#[derive(Debug, Default)]
pub struct ReplyParts {
    /// Extra headers.
    pub headers: Vec<(HeaderName, String)>,
}

impl<T> Reply<T> {
    /// Answers with a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { body: ReplyBody::Value(value), parts: ReplyParts::default() }
    }

    /// Answers with lines of JSON.
    #[must_use]
    pub fn lines(body: Body) -> Self {
        Self { body: ReplyBody::Text("application/jsonl", body), parts: ReplyParts::default() }
    }

    /// Answers with a table.
    #[must_use]
    pub fn csv(body: Body) -> Self {
        Self { body: ReplyBody::Text("text/csv; charset=utf-8; header=present", body), parts: ReplyParts::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.parts.headers.push((name, value.into()));
        self
    }

    pub(crate) fn into_parts(self) -> (ReplyParts, ReplyBody<T>) {
        (self.parts, self.body)
    }
}

/// Returns the actor's text for logs.
#[must_use]
pub fn actor_text(actor: &ActorKind) -> String {
    let (kind, id) = actor.describe();
    format!("{kind}:{id}")
}
