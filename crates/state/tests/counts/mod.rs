//! Rate limits counted in common by nodes whose clocks have nothing to do with each other, and what becomes of them without Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::rate_limit::{Measure, Per, Rate, Share};
use domain::{OrganizationId, RateLimitId};
use state::redis::{Redis, Standing};
use state::testing::RedisServer;
use throttle::joint::Common as _;
use throttle::{Ask, Left, Need, Pass, Refused, Throttle, Use};

use super::{Node, PATIENCE};

const ONE: Use = Use { requests: 1, input_tokens: 0, output_tokens: 0, cost: 0 };
const CALL: Need = Need { least: ONE, most: ONE, occupies: true };

/// Nodes that count in one Redis.
struct Fleet {
    server: RedisServer,
    nodes: Vec<Counting>,
}

struct Counting {
    node: Node,
    throttle: Throttle,
    /// Its own clock, which nobody else goes by.
    began: (Instant, u64),
}

impl Fleet {
    async fn start(n: u32) -> Self {
        let server = RedisServer::start();
        let node = |place| {
            let node = Node::start(&server.url(), PATIENCE);
            let throttle = Throttle::in_common(Arc::new(node.redis.clone()));
            throttle.set_share(Share::new(n, place));
            Counting { node, throttle, began: (Instant::now(), u64::from(place) * 1_000_000_000_000) }
        };
        let nodes = (0..n).map(node).collect();
        let fleet = Self { server, nodes };
        fleet.together().await;
        fleet
    }

    /// Waits until every node counts in common with all others.
    async fn together(&self) {
        let n = u32::try_from(self.nodes.len()).expect("few");
        for node in &self.nodes {
            until(|| node.redis().members().is_some_and(|members| members >= n)).await;
        }
    }
}

impl Counting {
    fn redis(&self) -> &Redis {
        &self.node.redis
    }

    fn now_us(&self) -> u64 {
        let (began, offset) = self.began;
        offset + u64::try_from(began.elapsed().as_micros()).expect("not long ago")
    }

    async fn admit(&self, ask: &Ask, need: &Need) -> Result<Pass, Box<Refused>> {
        self.throttle.admit_in_common(self.now_us(), vec![ask.clone()], need).await
    }

    async fn left(&self, ask: &Ask) -> Left {
        self.throttle.list_in_common(self.now_us(), std::slice::from_ref(ask)).await[0][0]
    }

    fn settle(&self, pass: Pass, used: &Use) {
        pass.settle(self.now_us(), used, None);
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "it never came");
        tokio::task::yield_now().await;
    }
}

fn ask(organization: u128, group: &str, rate: Rate) -> Ask {
    // As the gateway does, less the secret.
    let byte = group.bytes().fold(7, u8::wrapping_add);
    Ask {
        organization: OrganizationId::from_uuid(organization),
        mark: Some([byte; 16]),
        limit: RateLimitId::from_uuid(organization),
        name: "Fair use".into(),
        rates: [rate].into(),
        group: group.into(),
        providers: None,
    }
}

fn requests(per: Per, amount: u64) -> Rate {
    Rate { measure: Measure::Requests, per: Some(per), amount }
}

fn at_once(amount: u64) -> Rate {
    Rate { measure: Measure::Concurrent, per: None, amount }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_admit_exactly_the_limit_together_however_calls_are_spread() {
    let fleet = Fleet::start(3).await;
    for (n, spread) in [[1, 1, 1], [0, 0, 1], [1, 9, 2]].into_iter().enumerate() {
        let limit = ask(1, &n.to_string(), requests(Per::Day, 37));
        let mut served = 0;
        for _ in 0..20 {
            for (node, weight) in fleet.nodes.iter().zip(spread) {
                let calls = (0..weight).map(|_| node.admit(&limit, &CALL));
                let passes = futures_util::future::join_all(calls).await;
                served += passes.iter().filter(|pass| pass.is_ok()).count();
            }
        }
        let most = 20 * spread.iter().sum::<usize>();
        assert_eq!(served, most.min(37), "{spread:?}");
    }
    // Another tenant's counters are others, whatever it calls its groups.
    assert!(fleet.nodes[0].admit(&ask(2, "0", requests(Per::Day, 37)), &CALL).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_used_is_gone_at_the_other_as_it_was_used_in_the_end() {
    let fleet = Fleet::start(2).await;
    let [one, other] = &fleet.nodes[..] else { unreachable!("two") };
    let limit = ask(1, "", Rate { measure: Measure::Tokens, per: Some(Per::Hour), amount: 1_000 });
    let need = Need {
        least: Use { input_tokens: 100, ..ONE },
        most: Use { input_tokens: 100, output_tokens: 700, ..ONE },
        occupies: true,
    };
    let pass = one.admit(&limit, &need).await.expect("it fits");
    assert_eq!((other.left(&limit).await.part, other.left(&limit).await.left), (1_000, 200));
    let refused = other.admit(&limit, &need).await.expect_err("no room");
    let wait = refused.retry_after.expect("an end");
    assert!(wait > Duration::from_secs(3_500) && wait < Duration::from_secs(3_800), "{wait:?}");
    one.settle(pass, &Use { input_tokens: 90, output_tokens: 60, ..ONE });
    let since = Instant::now();
    while other.left(&limit).await.left != 850 {
        assert!(since.elapsed() < PATIENCE, "{:?}", other.left(&limit).await);
    }
    // More than was said counts whole.
    let pass = loop {
        if let Ok(pass) = other.admit(&limit, &need).await {
            break pass;
        }
    };
    other.settle(pass, &Use { input_tokens: 100, output_tokens: 5_000, ..ONE });
    while one.left(&limit).await.left != 0 {
        assert!(since.elapsed() < PATIENCE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_slides_and_who_waits_as_long_as_told_is_admitted() {
    let fleet = Fleet::start(2).await;
    let limit = ask(1, "", requests(Per::Second, 5));
    // Whatever the machine does meanwhile: of any six that were admitted the last came a second after the first.
    let (mut admitted, mut told) = (Vec::new(), None);
    for n in 0.. {
        match fleet.nodes[n % 2]
            .throttle
            .admit_in_common(u64::MAX / 2 + n as u64 * 1_000_000, vec![limit.clone()], &CALL)
            .await
        {
            Ok(_) => admitted.push(Instant::now()),
            Err(refused) => {
                let wait = refused.retry_after.expect("an end");
                assert!(wait <= Duration::from_millis(1_100), "{wait:?}");
                told = Some(wait);
            }
        }
        if admitted.len() == 11 {
            break;
        }
    }
    assert!(told.is_some(), "some were refused");
    for six in admitted.windows(6) {
        // Between Redis and here lies a round trip.
        assert!(six[5] - six[0] > Duration::from_millis(900), "{:?}", six[5] - six[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_end_with_their_calls_and_with_their_node() {
    let fleet = Fleet::start(2).await;
    let [one, other] = &fleet.nodes[..] else { unreachable!("two") };
    let limit = ask(1, "", at_once(2));
    let (first, second) =
        (one.admit(&limit, &CALL).await.expect("one"), other.admit(&limit, &CALL).await.expect("two"));
    let refused = one.admit(&limit, &CALL).await.expect_err("three");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    drop(first);
    let since = Instant::now();
    let third = loop {
        if let Ok(pass) = other.admit(&limit, &CALL).await {
            break pass;
        }
        assert!(since.elapsed() < PATIENCE, "it never ended");
    };
    // A node that says nothing more: what it had ends by itself.
    let keys = fleet.server.run(&["KEYS", "headgate:rate:*:concurrent:*"]);
    let name = keys.split('"').nth(1).expect("one key").to_owned();
    let life: u64 = fleet.server.run(&["PTTL", &name]).trim_matches(|c: char| !c.is_numeric()).parse().expect("a time");
    assert!((1..=20_000).contains(&life), "{life}");
    for member in fleet.server.run(&["ZRANGE", &name, "0", "-1"]).split('"').skip(1).step_by(2) {
        fleet.server.run(&["ZADD", &name, "XX", "1", member]);
    }
    assert_eq!(other.left(&limit).await.left, 2);
    drop((second, third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_node_has_its_share_and_with_it_again_they_count_in_common() {
    let mut fleet = Fleet::start(2).await;
    fleet.server.kill();
    for node in &fleet.nodes {
        until(|| matches!(node.redis().standing(), Standing::Down(_))).await;
        assert!(node.redis().members().is_none() && node.redis().trouble().is_some());
        let limit = ask(1, "away", requests(Per::Day, 10));
        let mut served = 0;
        for _ in 0..20 {
            served += u32::from(node.admit(&limit, &CALL).await.is_ok());
        }
        assert_eq!(served, 5);
    }
    fleet.server.start_again();
    fleet.together().await;
    let limit = ask(1, "back", requests(Per::Day, 10));
    let mut served = 0;
    for _ in 0..20 {
        served += u32::from(fleet.nodes[0].admit(&limit, &CALL).await.is_ok());
    }
    assert_eq!(served, 10);
    // What a node let through by itself is known to it when Redis goes again.
    fleet.server.kill();
    until(|| fleet.nodes[0].redis().members().is_none()).await;
    assert!(fleet.nodes[0].admit(&limit, &CALL).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_in_the_middle_it_counts_anew_and_never_stops_counting() {
    let fleet = Fleet::start(2).await;
    let limit = ask(1, "", requests(Per::Day, 4));
    for _ in 0..3 {
        let (mut served, since) = (0, Instant::now());
        while served == 0 {
            // A refusal is remembered for a moment.
            served += u32::from(fleet.nodes[0].admit(&limit, &CALL).await.is_ok());
            assert!(since.elapsed() < PATIENCE);
        }
        for _ in 0..10 {
            for node in &fleet.nodes {
                served += u32::from(node.admit(&limit, &CALL).await.is_ok());
            }
        }
        assert_eq!(served, 4);
        // The nodes too are forgotten, and say so again.
        fleet.server.run(&["FLUSHALL"]);
        fleet.server.run(&["SCRIPT", "FLUSH"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_or_may_not_write_leaves_limits_to_the_nodes() {
    let server = RedisServer::start();
    let node = Node::start(&server.url(), Duration::from_millis(20));
    let throttle = Throttle::in_common(Arc::new(node.redis.clone()));
    throttle.set_share(Share::new(2, 0));
    until(|| node.redis.members().is_some()).await;
    server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let limit = ask(1, "full", requests(Per::Day, 10));
    let served = |limit: Ask| {
        let throttle = throttle.clone();
        async move {
            let mut served = 0;
            for _ in 0..20 {
                served += u32::from(throttle.admit_in_common(0, vec![limit.clone()], &CALL).await.is_ok());
            }
            served
        }
    };
    assert_eq!(served(limit).await, 5, "its share: one node of two counts in Redis, and Redis does not");
    assert!(node.redis.trouble().is_some_and(|trouble| trouble.contains("does not count")));
    server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    until(|| node.redis.members().is_some() && node.redis.trouble().is_none()).await;
    server.run(&["CLIENT", "PAUSE", "60000", "ALL"]);
    let since = Instant::now();
    assert_eq!(served(ask(1, "slow", requests(Per::Day, 10))).await, 5);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_end_by_themselves_and_say_nothing() {
    let fleet = Fleet::start(1).await;
    let node = &fleet.nodes[0];
    let mut limit = ask(1, "ann@example.com", requests(Per::Minute, 10));
    limit.rates = [requests(Per::Minute, 10), requests(Per::Day, 10), at_once(3)].into();
    let pass = node.admit(&limit, &CALL).await.expect("room");
    let keys = fleet.server.run(&["KEYS", "*"]);
    assert!(!keys.contains("ann") && !keys.contains("example"), "{keys}");
    let names: BTreeSet<&str> = keys.split('"').skip(1).step_by(2).collect();
    assert_eq!(names.len(), 4, "three rates, and the nodes: {keys}");
    for name in names {
        let life = fleet.server.run(&["PTTL", name]);
        let life: u64 = life.trim_matches(|c: char| !c.is_numeric()).parse().expect("a time");
        assert!(life > 0 && life < 100_000_000 && name.starts_with("headgate:"), "{name} {life}");
        assert_eq!(name.contains("{org_"), name != "headgate:nodes", "{name}");
    }
    node.settle(pass, &ONE);
}
