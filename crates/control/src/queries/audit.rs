//! The audit log: searched, verified in place, exported.
//!
//! Reading is not written down; an export and a verification are, because they are acts of an auditor.

use api::Jsonl;
use api::ops::audit::{AuditEntryView, AuditVerificationView, ExportAudit, ListAuditEntries, VerifyAudit};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Page;
use domain::audit::{AuditEntry, ChainError, hex32, verify_chain};
use store::Tx;
use store::audit::Filter;

use operation::audit_log::{Checkpoint, Line, Signer};
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::http::mount::CONTENT_DISPOSITION;

/// Entries read at once.
const CHUNK: u16 = 500;

/// Lists audit entries, newest first.
pub async fn list(call: Call<ListAuditEntries>) -> Outcome<Reply<Page<AuditEntryView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let query = &call.query;
    let filter = Filter {
        from: query.from,
        to: query.to,
        action: query.action.clone(),
        actor_id: query.actor_id.clone(),
        subject_id: query.subject_id.clone(),
        workspace_id: None,
        outcome: None,
    };
    let mut tx = call.read().await?;
    let page = store::audit::list(&mut tx, &filter, query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

fn view(entry: AuditEntry) -> AuditEntryView {
    AuditEntryView {
        id: entry.id,
        seq: entry.seq,
        at: entry.at,
        actor_kind: entry.actor_kind,
        actor_id: entry.actor_id,
        actor_name: entry.actor_name,
        action: entry.action,
        subject_kind: entry.subject_kind,
        subject_id: entry.subject_id,
        subject_name: entry.subject_name,
        workspace_id: entry.workspace_id,
        outcome: entry.outcome,
        before: entry.before,
        after: entry.after,
        ip: entry.origin.ip,
        user_agent: entry.origin.user_agent,
        hash: hex32::encode(&entry.hash),
    }
}

/// Checks the whole chain and its signed checkpoints in the database.
pub async fn verify(call: Call<VerifyAudit>) -> Outcome<Reply<AuditVerificationView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(verify_stored(&mut tx, &call.cx.audit_signer).await?))
}

/// A verification under way.
struct Walk {
    head: (u64, [u8; 32]),
    n_entries: u64,
    checkpoint: Option<Checkpoint>,
}

async fn verify_stored(tx: &mut Tx, signer: &Signer) -> Outcome<AuditVerificationView> {
    let mut walk = Walk { head: (0, [0; 32]), n_entries: 0, checkpoint: None };
    let mut bad = walk_chain(tx, signer, &mut walk).await?;
    let kept = store::audit::head(tx).await?;
    if bad.is_none() && kept != walk.head {
        bad = Some((
            walk.head.0 + 1,
            format!("the chain ends after entry {}, but entry {} was written", walk.head.0, kept.0),
        ));
    }
    let (first_bad_seq, detail) = bad.unzip();
    Ok(AuditVerificationView {
        is_valid: first_bad_seq.is_none(),
        n_entries: walk.n_entries,
        checkpoint_seq: walk.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq),
        checkpoint_at: walk.checkpoint.map(|checkpoint| checkpoint.at),
        first_bad_seq,
        detail,
    })
}

/// Walks entries and checkpoints in step; returns the first bad entry and what is wrong with it.
async fn walk_chain(tx: &mut Tx, signer: &Signer, walk: &mut Walk) -> Outcome<Option<(u64, String)>> {
    loop {
        let entries = store::audit::export(tx, walk.head.0, CHUNK).await?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { break };
        let mut checkpoints = checkpoints_between(tx, walk.head.0, last).await?.into_iter().peekable();
        for entry in &entries {
            match verify_chain(tx.organization(), walk.head, [entry]) {
                Ok(head) => walk.head = head,
                Err(error) => return Ok(Some((first_bad(&error), error.to_string()))),
            }
            walk.n_entries += 1;
            while let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.seq == entry.seq) {
                if signer.verify(&checkpoint).is_err() {
                    return Ok(Some((
                        entry.seq,
                        format!("the signature of the checkpoint over entry {} does not hold", entry.seq),
                    )));
                }
                if checkpoint.hash != entry.hash {
                    return Ok(Some((
                        entry.seq,
                        format!("entry {} is not the one that was signed on {}", entry.seq, checkpoint.at),
                    )));
                }
                walk.checkpoint = Some(checkpoint);
            }
        }
    }
    let beyond = store::audit::list_checkpoints(tx, walk.head.0, 1).await?;
    Ok(beyond
        .first()
        .map(|checkpoint| (walk.head.0 + 1, format!("entries up to {} were signed, but are gone", checkpoint.seq))))
}

const fn first_bad(error: &ChainError) -> u64 {
    match error {
        ChainError::Gap { expected, .. } => *expected,
        ChainError::Broken { seq } | ChainError::Altered { seq } | ChainError::Foreign { seq } => *seq,
    }
}

async fn checkpoints_between(tx: &mut Tx, after: u64, until: u64) -> Outcome<Vec<Checkpoint>> {
    let mut checkpoints = store::audit::list_checkpoints(tx, after, CHUNK).await?;
    checkpoints.retain(|checkpoint| checkpoint.seq <= until);
    Ok(checkpoints.into_iter().map(from_stored).collect())
}

fn from_stored(stored: store::audit::Checkpoint) -> Checkpoint {
    Checkpoint {
        organization_id: stored.organization_id,
        seq: stored.seq,
        hash: stored.hash,
        at: stored.signed_at,
        key_id: stored.kid,
        signature: STANDARD.encode(stored.signature),
    }
}

/// Exports the log as lines of JSON, oldest first, ending in a fresh checkpoint over the last entry.
///
/// The lines are read from one state of the database while they are sent; a long log does not fill the memory.
pub async fn export(call: Call<ExportAudit>) -> Outcome<Reply<Jsonl>> {
    let organization = call.organization()?;
    let mut write = call.write().await?;
    let subject = operation::trail::Subject::new("organization", organization, "audit log");
    write.audit(subject.act("audit.export"));
    write.commit(api::Empty {}).await?;
    let tx = call.read().await?;
    let state = Export { tx, cx: std::sync::Arc::clone(&call.cx), after: 0, stage: Stage::Header };
    let stream = futures_util::stream::try_unfold(state, |state| async move {
        let next = state.next().await;
        next.map_err(|failure| {
            tracing::error!(?failure, "an audit export broke off");
            std::io::Error::other("the export broke off")
        })
    });
    let name = format!("attachment; filename=\"audit-{organization}.jsonl\"");
    Ok(Reply::lines(Body::from_stream(stream)).with_header(CONTENT_DISPOSITION, name))
}

struct Export {
    tx: Tx,
    cx: std::sync::Arc<operation::cx::Cx>,
    after: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Entries,
    Done,
}

impl Export {
    async fn next(mut self) -> Outcome<Option<(String, Self)>> {
        let (organization, now) = (self.tx.organization(), self.cx.now());
        match self.stage {
            Stage::Done => Ok(None),
            Stage::Header => {
                let text = line(&self.cx.audit_signer.header(organization, (0, [0; 32]), now))?;
                self.stage = Stage::Entries;
                Ok(Some((text, self)))
            }
            Stage::Entries => {
                let entries = store::audit::export(&mut self.tx, self.after, CHUNK).await?;
                let Some(last) = entries.last().map(|entry| entry.seq) else {
                    let (seq, hash) = store::audit::head(&mut self.tx).await?;
                    let text = line(&Line::End(self.cx.audit_signer.sign(organization, seq, hash, now)))?;
                    self.stage = Stage::Done;
                    return Ok(Some((text, self)));
                };
                let mut checkpoints = checkpoints_between(&mut self.tx, self.after, last).await?.into_iter().peekable();
                let mut text = String::new();
                for entry in entries {
                    let seq = entry.seq;
                    text.push_str(&line(&Line::Entry(Box::new(entry)))?);
                    while let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.seq == seq) {
                        text.push_str(&line(&Line::Checkpoint(checkpoint))?);
                    }
                }
                self.after = last;
                Ok(Some((text, self)))
            }
        }
    }
}

fn line(line: &Line) -> Outcome<String> {
    serde_json::to_string(line).map(|text| text + "\n").map_err(|error| Failure::Internal(error.to_string()))
}
