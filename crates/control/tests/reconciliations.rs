//! Exports of providers held against the ledger, through the API.

use std::collections::BTreeMap;

use api::ops::reconciliations::{
    GetReconciliation, ListReconciliations, NewReconciliation, Reconcile, ReconciliationPath, ReconciliationView,
};
use api::ops::{OrganizationPath, PageQuery};
use api::{Empty, NoQuery};
use domain::reconciliation::ExportFormat;
use domain::usage::{AttemptOutcome, AttemptRecord, TokenUsage, UnitUsage, UsageEvent};
use domain::{CredentialId, DeploymentId, NanoUsd, Role, Scope};

use crate::usage::{book, event};
use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

/// A call with an attempt for each of these: credential, model, input tokens, nano-dollars.
fn call(world: &World, attempts: &[(u128, &str, u64, i64)]) -> UsageEvent {
    let base = event(world, world.workspace(), 5, "m");
    let attempts: Vec<AttemptRecord> = (1..)
        .zip(attempts)
        .map(|(n, (credential, model, input, nanos))| AttemptRecord {
            n,
            deployment_id: DeploymentId::from_uuid(7),
            credential_id: Some(CredentialId::from_uuid(*credential)),
            provider: "openai".to_owned(),
            upstream_model: (*model).to_owned(),
            started_at: base.started_at,
            duration_us: 1,
            first_byte_us: None,
            outcome: AttemptOutcome::Success,
            status: Some(200),
            upstream_request_id: None,
            usage: TokenUsage { input: *input, output: 10, ..TokenUsage::default() },
            modal: None,
            image: None,
            units: UnitUsage::default(),
            cost: NanoUsd::from_nanos(*nanos),
        })
        .collect();
    let cost = attempts.iter().map(|attempt| attempt.cost).sum();
    UsageEvent { cost, attempts, provider: Some("openai".to_owned()), ..base }
}

fn export(format: ExportFormat, content: &str) -> NewReconciliation {
    NewReconciliation {
        format,
        provider: None,
        file_name: "export.csv".to_owned(),
        content: content.to_owned(),
        models: BTreeMap::new(),
        credentials: BTreeMap::new(),
        tolerance_basis_points: Some(0),
        tolerance_usd: Some(NanoUsd::ZERO),
    }
}

async fn reconcile(world: &World, body: NewReconciliation) -> ReconciliationView {
    world.as_owner().call::<Reconcile>(org(world), NoQuery {}, body).await.expect("a reconciliation")
}

const HEAD: &str = "start_time,end_time,input_tokens,output_tokens,num_model_requests,project_id,api_key_id,model\n";

#[tokio::test]
async fn what_both_say_agrees_and_what_differs_is_kept_with_both_sides() {
    let world = World::new().await;
    // 2026-11-22, as the world begins. A failed attempt that was billed counts at its own model.
    let calls = [
        call(&world, &[(1, "gpt-4o-2024-08-06", 100, 2_500)]),
        call(&world, &[(1, "gpt-4o", 50, 1_250), (2, "gpt-4o-mini", 7, 100)]),
    ];
    book(&world, &calls).await;
    let same = format!(
        "{HEAD}1795305600,1795392000,150,20,2,p,k1,gpt-4o-2024-08-06\n1795305600,1795392000,7,10,1,p,k2,gpt-4o-mini\n"
    );
    let found = reconcile(&world, export(ExportFormat::OpenaiUsage, &same)).await;
    assert!(found.agrees, "{found:?}");
    assert_eq!((found.matched, found.first_day.as_str(), found.rows), (2, "2026-11-22", 2));
    assert_eq!((found.ours.requests, found.ours.input_tokens, found.ours.cost_usd), (Some(3), Some(157), None));
    assert!(found.uploaded_by.starts_with("token:") || !found.uploaded_by.is_empty());

    let other = format!("{HEAD}1795305600,1795392000,151,20,2,p,k1,gpt-4o\n1795305600,1795392000,9,9,1,p,k3,o3\n");
    let found = reconcile(&world, export(ExportFormat::OpenaiUsage, &other)).await;
    assert_eq!((found.agrees, found.matched, found.differing), (false, 0, 3));
    let line = |model: &str| found.differences.iter().find(|it| it.model == model).expect("a difference");
    assert_eq!((line("gpt-4o").theirs.input_tokens, line("gpt-4o").ours.input_tokens), (Some(151), Some(150)));
    assert_eq!(line("o3").ours.requests, Some(0), "the ledger has nothing of it");
    assert_eq!(line("gpt-4o-mini").theirs.requests, Some(0), "the provider has nothing of it");
    let within = NewReconciliation { tolerance_basis_points: Some(100), ..export(ExportFormat::OpenaiUsage, &other) };
    assert_eq!(reconcile(&world, within).await.differing, 2, "151 of 150 is within one percent");

    let costs = "start_time,amount_value,amount_currency,line_item\n1795305600,0.00000375,usd,\"gpt-4o, input\"\n1795305600,0.0000001,usd,\"gpt-4o-mini, input\"\n";
    let found = reconcile(&world, export(ExportFormat::OpenaiCosts, costs)).await;
    assert!(found.agrees && found.ours.cost_usd == Some(NanoUsd::from_nanos(3_850)), "{found:?}");

    let listed = world.as_owner().call::<ListReconciliations>(org(&world), PageQuery::default(), Empty {}).await;
    let listed = listed.expect("a list").items;
    assert_eq!((listed.len(), listed[2].differing, listed[2].differences.len()), (4, 3, 0));
    let path = ReconciliationPath { organization_id: world.organization(), reconciliation_id: listed[2].id };
    let got = world.as_owner().call::<GetReconciliation>(path, NoQuery {}, Empty {}).await.expect("one");
    assert_eq!(got.differences.len(), 3);
}

#[tokio::test]
async fn keys_that_are_mapped_are_compared_apart() {
    let world = World::new().await;
    book(&world, &[call(&world, &[(1, "gpt-4o", 100, 1)]), call(&world, &[(2, "gpt-4o", 5, 1)])]).await;
    let text = format!("{HEAD}1795305600,1795392000,5,10,1,p,k1,gpt-4o\n1795305600,1795392000,100,10,1,p,k2,gpt-4o\n");
    assert!(reconcile(&world, export(ExportFormat::OpenaiUsage, &text)).await.agrees, "together they are the same");
    let credentials = |first, second| {
        let ids = [("k1", first), ("k2", second)];
        ids.into_iter().map(|(key, id)| (key.to_owned(), CredentialId::from_uuid(id))).collect()
    };
    let swapped = NewReconciliation { credentials: credentials(1, 2), ..export(ExportFormat::OpenaiUsage, &text) };
    assert_eq!(reconcile(&world, swapped).await.differing, 2);
    let right = NewReconciliation { credentials: credentials(2, 1), ..export(ExportFormat::OpenaiUsage, &text) };
    assert!(reconcile(&world, right).await.agrees);
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_large_files_come_through() {
    let world = World::new().await;
    let owner = world.as_owner();
    for (body, field) in [
        (export(ExportFormat::OpenaiUsage, &format!("{HEAD}1795305600,1795392000,x,10,1,p,k,gpt-4o\n")), "/content"),
        (NewReconciliation { file_name: " ".to_owned(), ..export(ExportFormat::OpenaiUsage, "") }, "/file_name"),
        (
            NewReconciliation { tolerance_basis_points: Some(10_001), ..export(ExportFormat::OpenaiUsage, "") },
            "/tolerance_basis_points",
        ),
    ] {
        let refused = owner.refused::<Reconcile>(org(&world), NoQuery {}, body).await;
        assert_eq!(refused.fields[0].pointer, field);
        assert!(field != "/content" || refused.fields[0].detail.contains("line 2: `input_tokens`"), "{refused:?}");
    }
    let row = "1795305600,1795392000,1,1,1,p,k,gpt-4o\n";
    let large = format!("{HEAD}{}", row.repeat(60_000));
    assert!(large.len() > 2 * 1_024 * 1_024, "more than a body of any other operation may have");
    let found = reconcile(&world, export(ExportFormat::OpenaiUsage, &large)).await;
    assert_eq!((found.rows, found.theirs.requests), (60_000, Some(60_000)));
    let auditor = world.as_role(Role::Auditor, Scope::Organization(world.organization())).await;
    let body = export(ExportFormat::OpenaiUsage, &format!("{HEAD}{row}"));
    assert_eq!(auditor.refused::<Reconcile>(org(&world), NoQuery {}, body).await.code.as_str(), "permission_denied");
}
