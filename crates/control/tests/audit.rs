//! The audit log: one entry per change and per kind of refusal, tampering named, export verified offline.

use api::ops::OrganizationPath;
use api::ops::audit::{AuditQuery, AuditVerificationView, ExportAudit, ListAuditEntries, VerifyAudit};
use api::ops::workspaces::{CreateWorkspace, NewWorkspace};
use api::{Empty, NoQuery};
use control::jobs;
use http::StatusCode;
use operation::audit_log;

use crate::world::{Actor, World};

fn place(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

async fn verify(owner: &Actor<'_>) -> AuditVerificationView {
    owner.call::<VerifyAudit>(place(owner.world), NoQuery {}, Empty {}).await.expect("a verification")
}

async fn busy_world() -> World {
    let world = World::new().await;
    for n in 0..4 {
        let body = NewWorkspace { slug: format!("w-{n}").parse().expect("a slug"), name: "W".parse().expect("a name") };
        world.as_owner().call::<CreateWorkspace>(place(&world), NoQuery {}, body).await.expect("a workspace");
    }
    assert!(jobs::run_due(&world.cx).await.contains(&"audit_seal"));
    world
}

#[tokio::test]
async fn a_change_is_written_down_with_actor_origin_before_and_after() {
    let world = World::new().await;
    let owner = world.as_owner().with(http::header::USER_AGENT, "tests/1");
    let body = NewWorkspace { slug: "beta".parse().expect("a slug"), name: "Beta".parse().expect("a name") };
    let made = owner.call::<CreateWorkspace>(place(&world), NoQuery {}, body).await.expect("a workspace");
    let query = AuditQuery { action: Some("workspace.".to_owned()), ..AuditQuery::default() };
    let entries = owner.call::<ListAuditEntries>(place(&world), query, Empty {}).await.expect("entries").items;
    let entry = &entries[0];
    assert_eq!((entry.action.as_str(), entry.subject_id.as_str()), ("workspace.create", made.id.to_string().as_str()));
    assert!(entry.actor_name.starts_with("admin@localhost") && entry.actor_kind == "access_token");
    assert_eq!(entry.user_agent.as_deref(), Some("tests/1"));
    assert!(entry.before.is_none() && entry.after.as_ref().expect("after").contains("\"beta\""));
}

#[tokio::test]
async fn refusals_are_written_down_once_a_minute() {
    let world = World::new().await;
    let viewer = world.as_viewer().await;
    let url = format!("/api/v1/organizations/{}/members", world.organization());
    for _ in 0..5 {
        assert_eq!(viewer.send("GET", &url, None).await.status, StatusCode::FORBIDDEN);
    }
    let query = || AuditQuery { action: Some("members.list".to_owned()), ..AuditQuery::default() };
    let denied =
        world.as_owner().call::<ListAuditEntries>(place(&world), query(), Empty {}).await.expect("entries").items;
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].outcome, domain::audit::AuditOutcome::Denied);
    world.advance(61);
    viewer.send("GET", &url, None).await;
    let denied =
        world.as_owner().call::<ListAuditEntries>(place(&world), query(), Empty {}).await.expect("entries").items;
    assert_eq!(denied.len(), 2);
}

#[tokio::test]
async fn what_a_command_refuses_is_written_down_too() {
    let world = World::new().await;
    let security = world.as_role(domain::Role::SecurityAdmin, domain::Scope::Organization(world.organization())).await;
    let url = format!("/api/v1/organizations/{}/role-bindings", world.organization());
    let body = format!(r#"{{"member_id":"{}","role":"owner"}}"#, domain::MemberId::from_uuid(1));
    assert_eq!(security.send("POST", &url, Some(&body)).await.status, StatusCode::FORBIDDEN);
    let query = AuditQuery { action: Some("role_bindings.bind".to_owned()), ..AuditQuery::default() };
    let denied =
        world.as_owner().call::<ListAuditEntries>(place(&world), query, Empty {}).await.expect("entries").items;
    assert_eq!(denied[0].outcome, domain::audit::AuditOutcome::Denied);
}

#[tokio::test]
async fn an_untouched_log_verifies_here_and_offline() {
    let world = busy_world().await;
    let owner = world.as_owner();
    let view = verify(&owner).await;
    assert!(view.is_valid && view.checkpoint_seq > 0 && view.n_entries == view.checkpoint_seq, "{view:?}");
    let file = owner.call::<ExportAudit>(place(&world), NoQuery {}, Empty {}).await.expect("an export").0;
    let pinned = world.cx.audit_signer.public_key();
    let verified = audit_log::verify(file.as_bytes(), Some(&pinned)).expect("a whole file");
    // The export itself is an entry of the log it exports.
    assert_eq!(verified.entries, view.n_entries + 1);
    assert!(file.contains("\"audit.export\"") && verified.is_pinned);
}

#[tokio::test]
async fn tampering_in_the_database_is_named() {
    for (sql, seq, detail) in [
        ("UPDATE audit_entries SET subject_name = 'x' WHERE seq = 3", 3, "entry 3 was altered"),
        ("DELETE FROM audit_entries WHERE seq = 4", 4, "entry 4 is missing: found 5 in its place"),
        ("UPDATE audit_entries SET hash = decode(repeat('00', 32), 'hex') WHERE seq = 2", 2, "entry 2 was altered"),
        ("UPDATE audit_checkpoints SET signature = decode(repeat('00', 64), 'hex')", 0, "does not hold"),
    ] {
        let world = busy_world().await;
        assert!(world.database.tamper(sql).await.expect("a tampered row") > 0);
        let view = verify(&world.as_owner()).await;
        assert!(!view.is_valid, "{sql}");
        assert!(view.detail.as_ref().is_some_and(|found| found.contains(detail)), "{sql}: {view:?}");
        if seq > 0 {
            assert_eq!(view.first_bad_seq, Some(seq), "{sql}");
        }
    }
}

#[tokio::test]
async fn a_cut_tail_is_named_even_when_the_head_was_cut_too() {
    let world = busy_world().await;
    let before = verify(&world.as_owner()).await.n_entries;
    world.database.tamper("DELETE FROM audit_entries WHERE seq > 3").await.expect("a cut");
    world.database.tamper("UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_entries WHERE audit_entries.organization_id = audit_head.organization_id AND seq = 3)").await.expect("a cut head");
    let view = verify(&world.as_owner()).await;
    assert_eq!((view.is_valid, view.first_bad_seq), (false, Some(4)));
    assert!(view.detail.expect("a detail").contains(&format!("up to {before} were signed")));
}

#[tokio::test]
async fn sign_ins_are_written_down_also_when_they_fail() {
    let world = World::new().await;
    crate::auth::sign_in(&world, &world.secrets.admin_password).await;
    world
        .anonymous()
        .send("POST", "/api/v1/auth/login", Some(r#"{"email":"admin@localhost","password":"wrong wrong wrong"}"#))
        .await;
    let query = AuditQuery { action: Some("session.create".to_owned()), ..AuditQuery::default() };
    let entries =
        world.as_owner().call::<ListAuditEntries>(place(&world), query, Empty {}).await.expect("entries").items;
    let outcomes: Vec<_> = entries.iter().map(|entry| (entry.actor_kind.as_str(), entry.outcome.as_str())).collect();
    assert_eq!(outcomes, [("anonymous", "denied"), ("user", "success")]);
}
