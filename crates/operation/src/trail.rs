//! What commands write into the audit log: the subject before and after, without secrets.
//!
//! Secrets that change are shown as keyed digests, so that two entries can be compared and nothing can be read.

use api::Meta;
use domain::audit::{Audit, AuditOutcome, Origin};
use domain::id::IdMint as _;
use domain::{AuditEntryId, OrganizationId, WorkspaceId};
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use store::AuditDraft;

use crate::auth::Caller;
use crate::cx::Cx;

/// What an act is about.
#[derive(Debug, Clone)]
pub struct Subject {
    kind: &'static str,
    id: String,
    name: String,
    workspace: Option<WorkspaceId>,
}

impl Subject {
    /// Says what it is: its kind, its id and its name at the time.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ids come by value and names by reference; both read well at the call"
    )]
    pub fn new(kind: &'static str, id: impl ToString, name: impl ToString) -> Self {
        Self { kind, id: id.to_string(), name: name.to_string(), workspace: None }
    }

    /// Says in which workspace it lies.
    #[must_use]
    pub const fn within(mut self, workspace: WorkspaceId) -> Self {
        self.workspace = Some(workspace);
        self
    }

    /// Records an act without before and after.
    #[must_use]
    pub fn act(&self, action: &'static str) -> Audit {
        Audit { workspace_id: self.workspace, ..Audit::new(action, self.kind, &self.id, &self.name) }
    }

    /// Records that it came to be.
    pub fn created(&self, action: &'static str, after: &impl Serialize) -> Audit {
        Audit { after: text(after), ..self.act(action) }
    }

    /// Records what it was and what it is.
    pub fn changed(&self, action: &'static str, before: &impl Serialize, after: &impl Serialize) -> Audit {
        Audit { before: text(before), after: text(after), ..self.act(action) }
    }

    /// Records what it was.
    pub fn removed(&self, action: &'static str, before: &impl Serialize) -> Audit {
        Audit { before: text(before), ..self.act(action) }
    }
}

fn text(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// Returns a secret's digest for the log: equal secrets of one organization give equal digests.
pub fn digest(cx: &Cx, organization: OrganizationId, secret: &str) -> String {
    let key = cx.keyring.derive(&format!("audit-digest|{organization}"));
    // HMAC takes keys of any length; 32 bytes cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_ref()) else { return String::new() };
    mac.update(secret.as_bytes());
    let bytes = mac.finalize().into_bytes();
    format!("hmac-sha256:{}", domain::audit::hex32::encode(&bytes[..12]))
}

/// Writes a refused act down, the first of its kind in a minute. Failing to do so does not change the refusal.
pub(crate) async fn record_denial(
    cx: &Cx,
    meta: &'static Meta,
    caller: &Caller,
    organization: OrganizationId,
    origin: Origin,
) {
    let now = cx.now();
    if !cx.denials.is_new(crate::call::actor_text(&caller.actor.kind), meta.name, now) {
        return;
    }
    let audit = Audit {
        outcome: AuditOutcome::Denied,
        origin,
        ..Audit::new(meta.name, "operation", &meta.name, &meta.summary.trim())
    };
    let id = AuditEntryId::from_uuid(cx.mint.next_uuid());
    let draft = AuditDraft { id, at: now, actor_name: caller.name.clone(), audit };
    let written = async {
        let mut tx = cx.store.write(organization).await?;
        tx.audit_denied(caller.actor.kind, draft);
        tx.commit().await
    };
    if let Err(error) = written.await {
        tracing::warn!(error = crate::error::chain(&error), "a refused act could not be written to the audit log");
    }
}
