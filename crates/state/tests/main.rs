//! One suite for every store of answers, and what Redis may do to a call: nothing.

mod counts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::time::ManualClock;
use domain::usage::TokenUsage;
use domain::{Clock, DeploymentId, NanoUsd, Secret, Timestamp};
use parking_lot::Mutex;
use state::answer::{Answer, Head};
use state::redis::{LOOK_UP_WITHIN, Redis, Standing};
use state::testing::RedisServer;
use state::{Cache, CacheKey, Cooldowns, KeyMaker, Memory, Tiers};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; a test that passes never waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

fn key(organization: u8, text: &str) -> CacheKey {
    let mut maker = KeyMaker::new(&Secret::new([organization; 32]));
    maker.part("request", text.as_bytes());
    maker.finish().expect("a key")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn answer(body: &'static str, ttl_s: i64) -> Arc<Answer> {
    let head = Head {
        stored_at: at(0),
        expires_at: at(ttl_s),
        is_stream: false,
        content_type: "text/plain".to_owned(),
        deployment_id: DeploymentId::from_uuid(1),
        provider: "echo".to_owned(),
        upstream_model: "echo-1".to_owned(),
        finish_reason: None,
        usage: TokenUsage::default(),
        cost: NanoUsd::ZERO,
        dropped: Vec::new(),
    };
    Arc::new(Answer { head, body: Bytes::from_static(body.as_bytes()) })
}

/// A node's Redis and its keeper at work.
struct Node {
    redis: Redis,
    heard: Arc<Mutex<Vec<(DeploymentId, Timestamp)>>>,
    cried: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    keeper: JoinHandle<()>,
}

/// A server and a node.
struct Bed {
    server: RedisServer,
    node: Node,
    redis: Redis,
}

impl Node {
    fn start(url: &str, patience: Duration) -> Self {
        let (redis, keeper) = Redis::open_patiently(url, patience).expect("an address");
        let (stop, heard) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let (signal, ears) = (stop.clone(), Arc::clone(&heard));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(at(0)));
        let cried = Arc::new(Mutex::new(Vec::new()));
        let listening = Arc::clone(&cried);
        let keeper = keeper.hearing(Box::new(move |word| listening.lock().push(word.to_owned())));
        #[expect(clippy::disallowed_methods, reason = "a test ends with its tasks")]
        let keeper = tokio::spawn(keeper.run(clock, Box::new(move |id, until| ears.lock().push((id, until))), signal));
        Self { redis, heard, cried, stop, keeper }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.keeper.await.expect("the keeper ends");
    }
}

impl Bed {
    async fn start() -> Self {
        Self::with(PATIENCE).await
    }

    async fn with(patience: Duration) -> Self {
        let server = RedisServer::start();
        let node = Node::start(&server.url(), patience);
        let bed = Self { server, redis: node.redis.clone(), node };
        bed.until(|bed| bed.redis.standing() == Standing::Up).await;
        bed
    }

    async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < PATIENCE, "it never came: {:?}", self.redis.standing());
            tokio::task::yield_now().await;
        }
    }

    async fn found(&self, cache: &dyn Cache, key: &CacheKey) -> Arc<Answer> {
        let since = Instant::now();
        loop {
            if let Some(found) = cache.find(key, at(1)).await {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "it was never found");
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let tiers = Tiers::alone(Memory::new(1)).with(self.redis.clone());
        let mut text = String::new();
        tiers.write_metrics(&mut text);
        let line = text.lines().find(|line| line.starts_with(name)).expect(name);
        line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok()).expect("a number")
    }
}

// === Every store ===

async fn keeps_by_key_and_for_a_time(cache: &dyn Cache) {
    let (first, second) = (answer("one", 60), answer("two", 60));
    cache.keep(&key(1, "a"), Arc::clone(&first), at(0));
    cache.keep(&key(1, "b"), second, at(0));
    let since = Instant::now();
    let found = loop {
        // What is written by and by is there at some time.
        if let Some(found) = cache.find(&key(1, "a"), at(59)).await {
            break found;
        }
        assert!(since.elapsed() < PATIENCE);
    };
    assert_eq!(found, first);
    assert_eq!(cache.find(&key(1, "a"), at(60)).await, None, "expired");
    assert_eq!(cache.find(&key(2, "a"), at(1)).await, None, "another organization");
    assert_eq!(cache.find(&key(1, "c"), at(1)).await, None, "another request");
    cache.keep(&key(1, "late"), answer("late", 60), at(60));
    assert_eq!(cache.find(&key(1, "late"), at(1)).await, None, "was never fresh");
}

#[tokio::test]
async fn memory_keeps_by_key_and_for_a_time() {
    keeps_by_key_and_for_a_time(&Memory::new(1 << 20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_by_key_and_for_a_time() {
    let bed = Bed::start().await;
    keeps_by_key_and_for_a_time(&bed.redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_together_keep_by_key_and_for_a_time() {
    let bed = Bed::start().await;
    keeps_by_key_and_for_a_time(&Tiers::alone(Memory::new(1 << 20)).with(bed.redis.clone())).await;
}

// === Memory ===

#[test]
fn memory_is_bounded_by_bytes() {
    let memory = Memory::new(64 * 1024);
    for n in 0..1_000 {
        memory.keep(&key(1, &n.to_string()), answer("0123456789", 60), at(0));
    }
    memory.tidy();
    let (answers, bytes) = memory.size();
    assert!(bytes <= 64 * 1024 && (1..1_000).contains(&answers), "{answers} answers, {bytes} bytes");
    let large = Arc::new(Answer { body: Bytes::from(vec![0; 100_000]), ..(*answer("", 60)).clone() });
    memory.keep(&key(1, "large"), large, at(0));
    memory.tidy();
    assert_eq!(memory.look(&key(1, "large"), at(1)), None, "larger than all room");
}

// === Redis ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_answers_and_keep_them_nearby() {
    let bed = Bed::start().await;
    let one = Tiers::alone(Memory::new(1 << 20)).with(bed.redis.clone());
    let other = Tiers::alone(Memory::new(1 << 20)).with(bed.redis.clone());
    one.keep(&key(1, "a"), answer("shared", 60), at(0));
    assert_eq!(bed.found(&other, &key(1, "a")).await.body, "shared");
    let asked = bed.metric("headgate_redis_lookup_seconds_count");
    assert_eq!(other.find(&key(1, "a"), at(1)).await.expect("nearby").body, "shared");
    assert_eq!(bed.metric("headgate_redis_lookup_seconds_count"), asked, "Redis was not asked again");
    assert_eq!(other.find(&key(1, "a"), at(60)).await, None, "nearby it ends when it would have ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_redis_tells_neither_requests_nor_answers() {
    let bed = Bed::start().await;
    bed.redis.keep(&key(1, "my question"), answer("my answer", 60), at(0));
    bed.found(&bed.redis, &key(1, "my question")).await;
    let dump = bed.server.dump();
    assert_eq!(dump.len(), 1);
    let (name, value) = &dump[0];
    assert!(name.starts_with("headgate:answer:") && name.len() == 16 + 64, "{name}");
    for word in ["question", "answer", "echo"] {
        assert!(!value.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    let left: u64 = bed.server.run(&["PTTL", name]).trim_matches(|c: char| !c.is_numeric()).parse().expect("a time");
    assert!((1..=60_000).contains(&left), "{left} ms");
    // What somebody else put there is no answer.
    bed.server.run(&["SET", name, "junk"]);
    assert_eq!(bed.redis.find(&key(1, "my question"), at(1)).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_is_a_miss_at_once_and_comes_back_by_itself() {
    let mut bed = Bed::start().await;
    bed.redis.keep(&key(1, "a"), answer("kept", 60), at(0));
    bed.found(&bed.redis, &key(1, "a")).await;
    bed.server.kill();
    bed.until(|bed| matches!(bed.redis.standing(), Standing::Down(_))).await;
    let asked = bed.metric("headgate_redis_lookup_seconds_count");
    for _ in 0..100 {
        assert_eq!(bed.redis.find(&key(1, "a"), at(1)).await, None);
        bed.redis.keep(&key(1, "b"), answer("lost", 60), at(0));
    }
    assert_eq!(bed.metric("headgate_redis_lookup_seconds_count"), asked, "nobody was asked");
    assert!(bed.metric("headgate_cache_lookups_total{store=\"redis\",result=\"away\"}") >= 100);
    assert_eq!(bed.metric("headgate_redis_up"), 0);
    bed.server.start_again();
    bed.until(|bed| bed.redis.standing() == Standing::Up).await;
    bed.redis.keep(&key(1, "a"), answer("again", 60), at(0));
    assert_eq!(bed.found(&bed.redis, &key(1, "a")).await.body, "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_costs_three_short_waits_and_then_nothing() {
    let bed = Bed::with(LOOK_UP_WITHIN).await;
    bed.server.run(&["CLIENT", "PAUSE", "60000", "ALL"]);
    let mut n_slow = 0;
    while bed.redis.standing() == Standing::Up
        && bed.metric("headgate_cache_lookups_total{store=\"redis\",result=\"away\"}") == 0
    {
        let asked_at = Instant::now();
        assert_eq!(bed.redis.find(&key(1, "a"), at(1)).await, None);
        assert!(asked_at.elapsed() < Duration::from_secs(1), "{:?}", asked_at.elapsed());
        n_slow += 1;
    }
    assert!(n_slow <= 4, "{n_slow}");
    let asked = bed.metric("headgate_redis_lookup_seconds_count");
    for _ in 0..100 {
        assert_eq!(bed.redis.find(&key(1, "a"), at(1)).await, None);
    }
    assert_eq!(bed.metric("headgate_redis_lookup_seconds_count"), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_never_there_is_a_miss() {
    let mut server = RedisServer::start();
    server.kill();
    let node = Node::start(&server.url(), PATIENCE);
    node.redis.keep(&key(1, "a"), answer("lost", 60), at(0));
    assert_eq!(node.redis.find(&key(1, "a"), at(1)).await, None);
    node.stop().await;
    assert!(Redis::open("http://cache").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_and_nothing_breaks() {
    let bed = Bed::start().await;
    bed.redis.keep(&key(1, "a"), answer("kept", 60), at(0));
    bed.found(&bed.redis, &key(1, "a")).await;
    bed.server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    bed.redis.keep(&key(1, "b"), answer("no room", 60), at(0));
    bed.until(|bed| bed.metric("headgate_redis_writes_total{result=\"skipped\"}") == 1).await;
    assert_eq!(bed.redis.find(&key(1, "a"), at(1)).await.expect("still there").body, "kept");
    assert_eq!(bed.redis.standing(), Standing::Up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upstream_said_reaches_the_other_nodes_until_it_is_over() {
    let bed = Bed::start().await;
    let (here, gone) = (DeploymentId::from_uuid(1), DeploymentId::from_uuid(2));
    bed.redis.share(gone, at(-1));
    bed.redis.share(here, at(30));
    bed.redis.share(here, at(20));
    let other = Node::start(&bed.server.url(), PATIENCE);
    bed.until(|_| !other.heard.lock().is_empty()).await;
    assert!(other.heard.lock().iter().all(|told| *told == (here, at(30))), "the later end counts, the past does not");
    other.stop().await;
    bed.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_cries_the_others_hear_and_it_does_not() {
    let mut bed = Bed::start().await;
    let other = Node::start(&bed.server.url(), PATIENCE);
    for _ in 0..2 {
        let since = Instant::now();
        while !other.cried.lock().iter().any(|word| word == "wanted") {
            // Until both listen.
            bed.redis.cry("wanted");
            assert!(since.elapsed() < PATIENCE, "nobody heard");
            tokio::task::yield_now().await;
        }
        assert!(bed.node.cried.lock().is_empty());
        bed.server.kill();
        bed.until(|bed| matches!(bed.redis.standing(), Standing::Down(_))).await;
        bed.server.start_again();
        bed.until(|bed| bed.redis.standing() == Standing::Up).await;
        other.cried.lock().clear();
    }
    other.stop().await;
}
