//! Chargeback and showback through the API: every dimension, shared costs, the forms, and totals that are the ledger's.

use api::ops::OrganizationPath;
use api::ops::ledger::{ListPostings, PostingPath};
use api::ops::reports::{
    MakeReport, ReportBearer, ReportLines, ReportRequest, ReportRow, ReportSplit, ReportTable, ReportView, WhatIf,
    WhatIfRequest,
};
use api::{Empty, NoQuery};
use domain::id::IdMint as _;
use domain::usage::{TokenUsage, UnitUsage, UsageEvent};
use domain::{NanoUsd, RequestId, Role, RouteId, Scope, Timestamp, VirtualKeyId};
use http::header;

use crate::usage::{book, event};
use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn wanted(month: &str, group_by: &[&str]) -> ReportRequest {
    ReportRequest {
        month: month.to_owned(),
        time_zone: None,
        group_by: group_by.iter().map(|name| (*name).to_owned()).collect(),
        splits: Vec::new(),
    }
}

async fn report(world: &World, body: ReportRequest) -> ReportView {
    world.as_owner().call::<MakeReport>(org(world), NoQuery {}, body).await.expect("a report")
}

/// A call of a model and key that cost something.
fn cost(world: &World, model: &str, key: u128, nanos: i64) -> UsageEvent {
    UsageEvent {
        cost: NanoUsd::from_nanos(nanos),
        virtual_key_id: VirtualKeyId::from_uuid(key),
        provider: Some("openai".to_owned()),
        ..event(world, world.workspace(), 5, model)
    }
}

/// The same at another time; the id says the day, too.
fn at(world: &World, event: UsageEvent, instant: &str) -> UsageEvent {
    let started_at: Timestamp = instant.parse().expect("an instant");
    let random = world.cx.mint.next_uuid().to_be_bytes();
    let id = domain::id::uuid_v7(started_at, random[6..].try_into().expect("ten bytes"));
    UsageEvent { id: RequestId::from_uuid(id), started_at, ..event }
}

fn charged(report: &ReportView, group: &[&str]) -> String {
    let row = report.rows.iter().find(|row| row.group == group);
    row.map_or_else(|| format!("no row in {:?}", report.rows), |row| row.sums.cost_usd.to_string())
}

#[tokio::test]
async fn totals_are_what_the_ledger_posted_by_whatever_dimensions() {
    let world = World::new().await;
    let route = RouteId::from_uuid(world.cx.mint.next_uuid());
    let mut events: Vec<UsageEvent> = (0..40_u128)
        .map(|n| {
            let end_user = (n % 3 > 0).then(|| format!("user-{}", n % 3));
            UsageEvent {
                route_id: (n % 2 == 0).then_some(route),
                end_user,
                tags: if n % 4 == 0 { vec!["z".to_owned(), "a".to_owned()] } else { Vec::new() },
                metadata: vec![("team".to_owned(), format!("t{}", n % 5)), ("run".to_owned(), n.to_string())],
                ..cost(
                    &world,
                    if n % 2 == 0 { "gpt" } else { "claude" },
                    n % 4,
                    1_000_003 + i64::try_from(n * n).unwrap(),
                )
            }
        })
        .collect();
    events.push(at(&world, cost(&world, "gpt", 1, 77), "2026-10-31T23:59:59Z"));
    book(&world, &events).await;
    let mut posted = 0;
    for event in &events[..40] {
        let path = PostingPath { organization_id: world.organization(), request_id: event.id };
        let moved = world.as_owner().call::<ListPostings>(path, NoQuery {}, Empty {}).await.expect("postings");
        posted += moved.items.iter().map(|posting| posting.amount_usd.as_nanos()).sum::<i64>();
    }
    let by: [&[&str]; 9] = [
        &[],
        &["workspace", "environment"],
        &["virtual_key", "model"],
        &["provider", "deployment"],
        &["route"],
        &["end_user", "model"],
        &["tags"],
        &["metadata:team", "end_user"],
        &["workspace", "metadata:run", "metadata:team", "tags", "virtual_key"],
    ];
    for group_by in by {
        let report = report(&world, wanted("2026-11", group_by)).await;
        let rows: i64 = report.rows.iter().map(|row| row.sums.cost_usd.as_nanos()).sum();
        assert_eq!((report.total.cost_usd.as_nanos(), rows), (posted, posted), "{group_by:?}");
        assert_eq!(report.rows.iter().map(|row| row.sums.requests).sum::<u64>(), 40, "{group_by:?}");
        assert_eq!(report.unattributed_usd, NanoUsd::ZERO);
    }
    let by_tags = report(&world, wanted("2026-11", &["tags"])).await;
    assert!(by_tags.rows.iter().any(|row| row.group == ["a,z"] && row.sums.requests == 10), "{by_tags:?}");
    let by_team = report(&world, wanted("2026-11", &["metadata:team", "metadata:none"])).await;
    assert_eq!((by_team.rows.len(), by_team.rows[0].group.clone()), (5, vec!["t0".to_owned(), String::new()]));
    let named = report(&world, wanted("2026-11", &["workspace"])).await;
    assert_eq!((named.rows.len(), named.rows[0].labels[0].as_str()), (1, "Main"));
    let october = report(&world, wanted("2026-10", &["model"])).await;
    assert_eq!((october.total.cost_usd.as_nanos(), october.rows.len()), (77, 1));
}

#[tokio::test]
async fn a_month_begins_and_ends_by_the_calendar_of_its_time_zone() {
    let world = World::new().await;
    let edge = |instant, nanos| at(&world, cost(&world, "m", 1, nanos), instant);
    // November begins at 04:00 in New York, on summer time; at 23:00 the day before in Berlin.
    let events = [
        edge("2026-10-31T22:59:59Z", 1),
        edge("2026-10-31T23:00:00Z", 10),
        edge("2026-11-01T03:59:59Z", 100),
        edge("2026-11-01T04:00:00Z", 1_000),
    ];
    book(&world, &events).await;
    for (zone, group_by, october, november) in [
        ("UTC", "model", 11, 1_100),
        ("Europe/Berlin", "model", 1, 1_110),
        ("Europe/Berlin", "end_user", 1, 1_110),
        ("America/New_York", "model", 111, 1_000),
        ("America/New_York", "end_user", 111, 1_000),
    ] {
        for (month, cost) in [("2026-10", october), ("2026-11", november)] {
            let body = ReportRequest { time_zone: Some(zone.to_owned()), ..wanted(month, &[group_by]) };
            let report = report(&world, body).await;
            let rows: i64 = report.rows.iter().map(|row| row.sums.cost_usd.as_nanos()).sum();
            assert_eq!((report.total.cost_usd.as_nanos(), rows), (cost, cost), "{zone} {month}");
        }
    }
}

#[tokio::test]
async fn shared_costs_are_put_upon_who_bears_them_and_nothing_is_lost() {
    let world = World::new().await;
    let events = [("shared", 100), ("a", 30), ("b", 10), ("c", 7)]
        .map(|(user, nanos)| UsageEvent { end_user: Some(user.to_owned()), ..cost(&world, "m", 1, nanos) });
    book(&world, &events).await;
    let split = |over: &[(&str, Option<u32>)]| ReportRequest {
        splits: vec![ReportSplit {
            dimension: "end_user".to_owned(),
            from: "shared".to_owned(),
            over: over.iter().map(|(to, share)| ReportBearer { to: (*to).to_owned(), share: *share }).collect(),
        }],
        ..wanted("2026-11", &["model", "end_user"])
    };
    let fixed = report(&world, split(&[("a", Some(1)), ("b", Some(1)), ("new", Some(1))])).await;
    assert_eq!(fixed.total.cost_usd.as_nanos(), 147);
    assert_eq!(charged(&fixed, &["m", "shared"]), "0");
    assert_eq!(charged(&fixed, &["m", "a"]), "0.000000064");
    assert_eq!(charged(&fixed, &["m", "b"]), "0.000000043");
    assert_eq!(charged(&fixed, &["m", "new"]), "0.000000033");
    let by_use = report(&world, split(&[("a", None), ("b", None)])).await;
    assert_eq!(
        (charged(&by_use, &["m", "a"]), charged(&by_use, &["m", "b"])),
        ("0.000000105".to_owned(), "0.000000035".to_owned())
    );
    let all = report(&world, split(&[])).await;
    assert_eq!(all.rows.iter().map(|row| row.sums.cost_usd.as_nanos()).sum::<i64>(), 147);
    assert_eq!(all.rows.iter().map(|row| row.sums.shared_usd.as_nanos()).sum::<i64>(), 0);
    for (body, pointer) in [
        (split(&[("a", None), ("b", Some(1))]), "/splits/0/over"),
        (split(&[("shared", Some(1))]), "/splits/0"),
        (ReportRequest { group_by: vec!["model".to_owned()], ..split(&[]) }, "/splits/0/dimension"),
    ] {
        let refused = world.as_owner().refused::<MakeReport>(org(&world), NoQuery {}, body).await;
        assert_eq!(refused.fields[0].pointer, pointer);
    }
}

#[tokio::test]
async fn tables_and_lines_say_what_the_report_says_and_hold_no_formula() {
    let world = World::new().await;
    let mut events: Vec<_> = (0..1_100).map(|n| cost(&world, &format!("model-{n:04}"), 1, 1)).collect();
    events.push(UsageEvent { model: "=HYPERLINK(\"x\"),\n".to_owned(), ..cost(&world, "m", 1, 1_234_567_891) });
    book(&world, &events).await;
    let body = || wanted("2026-11", &["model"]);
    let owner = world.as_owner();
    let table = owner.call::<ReportTable>(org(&world), NoQuery {}, body()).await.expect("a table").0;
    let lines: Vec<&str> = table.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1_102);
    assert_eq!(
        lines[0],
        "month,time_zone,model,model_name,requests,input_tokens,cached_input_tokens,output_tokens,own_usd,shared_usd,cost_usd"
    );
    let field = "\"'=HYPERLINK(\"\"x\"\"),\n\"";
    assert_eq!(lines[1], format!("2026-11,UTC,{field},{field},1,10,0,1,1.234567891,0,1.234567891"));
    let jsonl = owner.call::<ReportLines>(org(&world), NoQuery {}, body()).await.expect("lines").0;
    let rows: Vec<ReportRow> = jsonl.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(rows, report(&world, body()).await.rows);
    let empty =
        owner.call::<ReportTable>(org(&world), NoQuery {}, wanted("2026-01", &["model"])).await.expect("a table");
    assert_eq!(empty.0.lines().count(), 1, "a head line alone");
    let path = format!("/api/v1/organizations/{}/reports/csv", world.organization());
    let answer = owner.send("POST", &path, Some(r#"{"month":"2026-11"}"#)).await;
    assert!(answer.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/csv"));
}

#[tokio::test]
async fn a_month_at_other_prices_counts_every_kind_of_unit_and_leaves_other_models_as_they_were() {
    let world = World::new().await;
    let owner = world.as_owner();
    let path = format!("/api/v1/workspaces/{}/deployments", world.workspace());
    let mut made = Vec::new();
    for name in ["a", "b"] {
        let body = format!(r#"{{"name":"{name}","provider":"echo","upstream_model":"echo-{name}","is_enabled":true}}"#);
        let answer = owner.send("POST", &path, Some(&body)).await;
        made.push(answer.json()["id"].as_str().expect("an id").parse().expect("a deployment"));
    }
    let usage = TokenUsage { input: 1_000_000, cached_input: 500_000, output: 100_000, ..TokenUsage::default() };
    let units = UnitUsage { searches: 3, ..UnitUsage::default() };
    let of =
        |at: usize| UsageEvent { deployment_id: Some(made[at]), usage, units, ..cost(&world, "m", 1, 1_000_000_000) };
    book(&world, &[of(0), of(0), of(1), cost(&world, "m", 1, 7)]).await;
    let price = r#"{"provider":"echo","upstream_model":"echo-a","usd_per_million_tokens":{"input":"2","cached_input":"1","output":"10"},
                    "usd_per_unit":{"search":"0.01"}}"#;
    let ask = |prices: &str| {
        serde_json::from_str::<WhatIfRequest>(&format!(r#"{{"month":"2026-11","prices":[{prices}]}}"#)).unwrap()
    };
    let then = owner.call::<WhatIf>(org(&world), NoQuery {}, ask(price)).await.expect("an answer");
    assert_eq!((then.rows.len(), then.rows[0].requests), (1, 2));
    assert_eq!(
        (then.rows[0].booked_usd.to_string(), then.rows[0].then_usd.to_string()),
        ("2".to_owned(), "7.06".to_owned())
    );
    assert_eq!(
        (then.booked_usd.to_string(), then.then_usd.to_string()),
        ("3.000000007".to_owned(), "8.060000007".to_owned())
    );
    for prices in [String::new(), format!("{price},{price}")] {
        let refused = owner.refused::<WhatIf>(org(&world), NoQuery {}, ask(&prices)).await;
        assert!(refused.fields[0].pointer.starts_with("/prices"));
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_named_and_only_who_sees_all_usage_gets_a_report() {
    let world = World::new().await;
    let owner = world.as_owner();
    for (body, pointer) in [
        (wanted("2026-13", &[]), "/month"),
        (wanted("26-11", &[]), "/month"),
        (wanted("2026-11", &["colour"]), "/group_by/0"),
        (wanted("2026-11", &["model", "model"]), "/group_by/1"),
        (wanted("2026-11", &["metadata:"]), "/group_by/0"),
        (ReportRequest { time_zone: Some("Europe/Atlantis".to_owned()), ..wanted("2026-11", &[]) }, "/time_zone"),
    ] {
        let refused = owner.refused::<MakeReport>(org(&world), NoQuery {}, body).await;
        assert_eq!(refused.fields[0].pointer, pointer);
    }
    let developer = world.as_role(Role::Developer, Scope::Organization(world.organization())).await;
    let refused = developer.refused::<MakeReport>(org(&world), NoQuery {}, wanted("2026-11", &[])).await;
    assert_eq!(refused.code.as_str(), "permission_denied");
    let billing = world.as_role(Role::BillingAdmin, Scope::Organization(world.organization())).await;
    assert!(billing.call::<MakeReport>(org(&world), NoQuery {}, wanted("2026-11", &[])).await.is_ok());
}
