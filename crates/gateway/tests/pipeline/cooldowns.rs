//! Pauses that an upstream asked for reach the other nodes, and theirs are heeded here.

use std::sync::Arc;
use std::time::Duration;

use domain::{DeploymentId, Timestamp};
use gateway::{Ephemeral, GatewayConfig};
use parking_lot::Mutex;
use serde_json::json;
use state::Cooldowns;

use crate::harness::client::chat;
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{Play, Step, openai_whole};
use crate::harness::{Bench, START};

#[derive(Debug, Default)]
struct Told(Mutex<Vec<(DeploymentId, Timestamp)>>);

impl Cooldowns for Told {
    fn share(&self, deployment: DeploymentId, until: Timestamp) {
        self.0.lock().push((deployment, until));
    }
}

fn refused(status: u16, retry_after: Option<&str>) -> Play {
    let kind = ("content-type", "application/json".to_owned());
    let headers = retry_after.map(|seconds| ("retry-after", seconds.to_owned())).into_iter().chain([kind]).collect();
    let body = json!({"error": {"message": "later", "type": "rate_limit_error"}}).to_string();
    Play::Answer { status, headers, steps: vec![Step::Chunk(body.into())] }
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_said_is_told_and_what_was_observed_is_not() {
    let told = Arc::new(Told::default());
    let ephemeral = Ephemeral { cooldowns: told.clone(), ..Ephemeral::default() };
    let bench = Bench::beside(ephemeral, GatewayConfig::default(), &World::standard());
    for (first, wanted) in
        [(refused(500, None), None), (refused(429, None), None), (refused(429, Some("30")), Some(30))]
    {
        told.0.lock().clear();
        for host in ["a.test", "b.test", "c.test"] {
            bench.upstreams.forget(host);
            bench.upstreams.play(host, first.clone());
        }
        bench.ask(chat("chain")).await;
        let told = told.0.lock().clone();
        assert_eq!(told.is_empty(), wanted.is_none(), "{told:?}");
        let at_least = START.parse::<Timestamp>().expect("a time").plus(Duration::from_secs(wanted.unwrap_or(0)));
        assert!(told.iter().all(|(_, until)| *until >= at_least), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_other_nodes_were_told_moves_a_deployment_to_the_end() {
    let bench = Bench::new();
    let heed = bench.gateway.heed();
    let hosts = |bench: &Bench| bench.upstreams.hosts().last().cloned().unwrap_or_default();
    bench.upstreams.play("a.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200);
    assert_eq!(hosts(&bench), "a.test");
    let now: Timestamp = START.parse().expect("a time");
    heed(deployment_id(4), now.plus(Duration::from_secs(30)));
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200);
    assert_eq!(hosts(&bench), "b.test");
    tokio::time::advance(Duration::from_secs(120)).await;
    bench.upstreams.play("a.test", openai_whole());
    bench.upstreams.play("b.test", openai_whole());
    for _ in 0..2 {
        assert_eq!(bench.ask(chat("chain")).await.status, 200);
    }
    assert!(bench.upstreams.hosts().iter().filter(|host| *host == "a.test").count() >= 2, "it comes back");
}
