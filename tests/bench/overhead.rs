//! `bench overhead`: what a gateway node costs per request, with everything on, beside the bare forwarder.
//!
//! Rounds are interleaved (forwarder, gateway, forwarder, gateway, …) and the median of the per-round ratios is the figure,
//! so that a machine that slows down slows both.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::body::Bytes;
use serde_json::{Value, json};
use testkit::actor::Actor;
use testkit::collector::Collector;
use testkit::headgate::{Headgate, Start, data_dir};
use testkit::wait;

use crate::load::{Shot, closed_loop, on_schedule};
use crate::process::{Helper, cpu_time, resident_mb};

/// The model of most cases, and the route over three deployments of it.
const MODEL: &str = "gpt-4o-mini";
const ROUTE: &str = "bench-route";
/// Streams open at once, and the most megabytes meanwhile.
const FEW: u64 = 1_000;
const FEW_MB: f64 = 60.0;
const MANY: u64 = 2_000;
const MANY_MB: f64 = 50.0;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    rounds: usize,
    n_requests: u64,
    n_streams: u64,
    /// Turns of each of the three at a constant rate, and how long a turn is.
    n_turns: usize,
    turn: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { rounds: 5, n_requests: 20_000, n_streams: 800, n_turns: 15, turn: Duration::from_secs(2) }
    }
}

impl Effort {
    /// Enough to see that everything runs; too little to quote.
    pub(crate) fn quick() -> Self {
        Self { rounds: 3, n_requests: 4_000, n_streams: 200, n_turns: 3, turn: Duration::from_secs(1) }
    }
}

/// What runs while measuring.
struct Bed {
    upstream: Helper,
    forwarder: Helper,
    control: Headgate,
    node: Headgate,
    /// A node that exports a trace of every call, and where to.
    traced: Headgate,
    collector: Collector,
    /// A key whose calls are held against a hard budget and three rate limits.
    bound_key: String,
    _folders: [tempfile::TempDir; 3],
}

/// A case: one request shape and its bound.
struct Case {
    name: &'static str,
    path: &'static str,
    body: Bytes,
    n_connections: u64,
    n_requests: u64,
    /// Whether every call's trace is exported meanwhile.
    is_traced: bool,
    /// Whether budgets and rate limits bind the calls.
    is_bound: bool,
    /// The most that the median ratio may be, and what it is to become.
    bound: f64,
    goal: f64,
}

/// One line of the report.
struct Figure {
    name: &'static str,
    text: String,
    json: Value,
    holds: bool,
}

/// Runs every case; true when every bound holds.
pub(crate) async fn run(effort: &Effort) -> Result<bool> {
    let local = tokio::task::LocalSet::new();
    local.run_until(measure(effort)).await
}

async fn measure(effort: &Effort) -> Result<bool> {
    let bed = Bed::make().await?;
    let mut figures = Vec::new();
    for case in cases(effort) {
        figures.push(compare(&bed, &case, effort.rounds).await?);
    }
    figures.push(latency(&bed, effort).await?);
    figures.push(memory(&bed).await?);
    let mut table = String::from("\n");
    for figure in &figures {
        let mark = if figure.holds { "" } else { "   <- misses its bound" };
        writeln!(table, "{:<34} {}{mark}", figure.name, figure.text)?;
    }
    eprint!("{table}");
    let report: Vec<&Value> = figures.iter().map(|figure| &figure.json).collect();
    eprintln!("{}", json!({ "bench": "overhead", "figures": report }));
    Ok(figures.iter().all(|figure| figure.holds))
}

/// Starts what the benchmark measures, says where everything is, and waits for a signal: for profilers.
pub(crate) async fn serve() -> Result<()> {
    let bed = Bed::make().await?;
    let places = json!({
        "upstream": bed.upstream.address.to_string(),
        "forwarder": bed.forwarder.address.to_string(), "forwarder_pid": bed.forwarder.pid(),
        "gateway": bed.gateway()?.to_string(), "gateway_pid": bed.node.pid(),
        "sync_url": bed.control.field("sync_url"), "join_token": bed.join_token().await?,
        "key": bed.control.field("virtual_key"),
    });
    let ended = runtime::tasks::take_signals().context("listening for signals")?;
    eprintln!("{places}");
    ended.await;
    Ok(())
}

/// Sends `n` requests of one case, named by a part of its name; `hold` opens that many streams at once.
pub(crate) async fn shoot(case: &str, address: SocketAddr, key: &str, n: u64) -> Result<()> {
    let local = tokio::task::LocalSet::new();
    let cases = cases(&Effort::default());
    let found = cases.iter().find(|known| known.name.contains(case));
    let (path, body, n_connections) = match found {
        Some(case) => (case.path, case.body.clone(), case.n_connections.min(n)),
        None if case == "hold" => ("/v1/chat/completions", chat(MODEL, 1_024, "bench-hold", true), n),
        None => anyhow::bail!("no case `{case}`"),
    };
    let shot = Shot { address, path, key: key.to_owned(), body };
    local.run_until(closed_loop(&shot, n_connections, n)).await?;
    Ok(())
}

/// Sends at 1,000 a second for some seconds, and says how long the answers took.
pub(crate) async fn pace(address: SocketAddr, key: &str, seconds: u64) -> Result<()> {
    let body = chat(MODEL, 1_024, "bench-whole", false);
    let shot = Shot { address, path: "/v1/chat/completions", key: key.to_owned(), body };
    let local = tokio::task::LocalSet::new();
    let taken = local.run_until(on_schedule(&shot, 1_000, Duration::from_secs(seconds))).await?;
    eprintln!("{}", json!({ "p50_ms": quantile_ms(&taken, 50), "p99_ms": quantile_ms(&taken, 99) }));
    Ok(())
}

fn chat(model: &str, prompt_bytes: usize, user: &str, is_stream: bool) -> Bytes {
    let content = "lorem ipsum ".repeat(prompt_bytes / 12);
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": content }], "user": user, "stream": is_stream });
    Bytes::from(body.to_string())
}

fn messages(prompt_bytes: usize, is_stream: bool) -> Bytes {
    let content = "lorem ipsum ".repeat(prompt_bytes / 12);
    let user = if is_stream { "bench-stream" } else { "bench-whole" };
    let body = json!({
        "model": MODEL, "max_tokens": 512, "stream": is_stream,
        "messages": [{ "role": "user", "content": content }], "metadata": { "user_id": user }
    });
    Bytes::from(body.to_string())
}

fn cases(effort: &Effort) -> Vec<Case> {
    let case = |name, body, n_connections, n_requests, (bound, goal)| Case {
        name,
        path: "/v1/chat/completions",
        body,
        n_connections,
        n_requests,
        is_traced: false,
        is_bound: false,
        bound,
        goal,
    };
    let traced = |case: Case| Case { is_traced: true, ..case };
    let all = |case: Case| Case { is_traced: true, is_bound: true, ..case };
    let whole = |model, bytes| chat(model, bytes, "bench-whole", false);
    let stream = |model| chat(model, 1_024, "bench-stream", true);
    vec![
        case("whole, 1 KB", whole(MODEL, 1_024), 64, effort.n_requests, (2.0, 1.5)),
        case("stream, 100 chunks", stream(MODEL), 200, effort.n_streams, (1.5, 1.25)),
        traced(case("whole, 1 KB, all traces exported", whole(MODEL, 1_024), 64, effort.n_requests, (2.25, 2.0))),
        traced(case("stream, all traces exported", stream(MODEL), 200, effort.n_streams, (1.5, 1.25))),
        case("whole, 100 KB", whole(MODEL, 100 * 1_024), 64, effort.n_requests / 4, (2.0, 1.3)),
        case("routed over three, whole", whole(ROUTE, 1_024), 64, effort.n_requests, (2.0, 1.5)),
        case("routed over three, stream", stream(ROUTE), 200, effort.n_streams, (1.5, 1.25)),
        Case {
            path: "/v1/messages",
            ..case("translated, whole", messages(1_024, false), 64, effort.n_requests / 2, (3.0, 2.0))
        },
        Case {
            path: "/v1/messages",
            ..case("translated, stream", messages(1_024, true), 200, effort.n_streams, (3.0, 2.5))
        },
        all(case("all at once, whole", whole(ROUTE, 1_024), 64, effort.n_requests, (3.0, 1.5))),
        all(case("all at once, stream", stream(ROUTE), 200, effort.n_streams, (1.5, 1.25))),
    ]
}

impl Bed {
    async fn make() -> Result<Self> {
        let upstream = Helper::start(&["serve-upstream"])?;
        let forwarder = Helper::start(&["serve-forwarder", &upstream.address.to_string()])?;
        let folders = [data_dir()?, data_dir()?, data_dir()?];
        let control = Start::role("up", folders[0].path())?
            .env("OPENAI_API_KEY", "sk-bench")
            .env("OPENAI_BASE_URL", &format!("http://{}/v1", upstream.address))
            .ready()
            .await?;
        make_route(&control).await?;
        let bound_key = make_bound_key(&control).await?;
        let node = start_node(&control, folders[1].path(), None).await?;
        let collector = Collector::start().await?;
        let traced = start_node(&control, folders[2].path(), Some(&collector)).await?;
        Ok(Self { upstream, forwarder, control, node, traced, collector, bound_key, _folders: folders })
    }

    async fn join_token(&self) -> Result<String> {
        join_token(&self.control).await
    }

    fn shot(&self, address: SocketAddr, path: &'static str, body: &Bytes) -> Shot {
        Shot { address, path, key: self.control.field("virtual_key").to_owned(), body: body.clone() }
    }

    fn shot_of(&self, case: &Case, address: SocketAddr) -> Shot {
        let shot = self.shot(address, case.path, &case.body);
        if case.is_bound { Shot { key: self.bound_key.clone(), ..shot } } else { shot }
    }

    fn gateway(&self) -> Result<SocketAddr> {
        address_of(&self.node)
    }
}

fn address_of(node: &Headgate) -> Result<SocketAddr> {
    let url = node.field("gateway_url");
    url.trim_start_matches("http://").parse().with_context(|| format!("reading the gateway's address from `{url}`"))
}

/// Makes a route over three deployments of the same model, which share the calls.
async fn make_route(control: &Headgate) -> Result<()> {
    let admin = control.as_admin()?;
    let workspace = format!("/api/v1/workspaces/{}", control.field("workspace_id"));
    let deployments = format!("{workspace}/deployments");
    let listed = admin.get(&deployments).await?;
    let mut known = listed["items"].as_array().into_iter().flatten();
    let first = known.find(|one| one["name"] == MODEL).context("the workspace has the model")?;
    let mut targets = vec![json!({ "deployment_id": &first["id"], "priority": 1, "weight": 1 })];
    for n in 2..=3 {
        let wanted = json!({
            "name": format!("bench-{n}"), "provider": &first["provider"],
            "upstream_model": &first["upstream_model"], "credential_id": &first["credential_id"]
        });
        let made = admin.post(&deployments, &wanted).await?;
        targets.push(json!({ "deployment_id": &made["id"], "priority": 1, "weight": 1 }));
    }
    admin.post(&format!("{workspace}/routes"), &json!({ "name": ROUTE, "targets": targets })).await?;
    Ok(())
}

/// Makes a key whose calls a hard budget and three rate limits bind: reserved, counted and settled, and never refused.
async fn make_bound_key(control: &Headgate) -> Result<String> {
    let admin = control.as_admin()?;
    let workspace = format!("/api/v1/workspaces/{}", control.field("workspace_id"));
    let environments = admin.get(&format!("{workspace}/environments")).await?;
    let wanted = json!({ "name": "bench", "environment_id": &environments["items"][0]["id"] });
    let made = admin.post(&format!("{workspace}/virtual-keys"), &wanted).await?;
    let subject = json!({ "virtual_key_ids": [&made["virtual_key"]["id"]] });
    let budget = json!({
        "name": "bench", "measure": "cost", "enforcement": "hard", "subject": &subject,
        "limits": [{ "window": "month", "amount": "1000000" }]
    });
    admin.post(&format!("{workspace}/budgets"), &budget).await?;
    let limit = json!({
        "name": "bench", "subject": &subject,
        "rates": [
            { "measure": "requests", "per": "minute", "amount": 100_000_000 },
            { "measure": "tokens", "per": "minute", "amount": 1_000_000_000_000_u64 },
            { "measure": "concurrent", "amount": 100_000 }
        ]
    });
    admin.post(&format!("{workspace}/rate-limits"), &limit).await?;
    let secret = made["secret"].as_str().context("a new key has a secret")?;
    Ok(secret.to_owned())
}

/// Starts one more node, on one thread, and waits until it serves the route.
async fn start_node(control: &Headgate, folder: &Path, collector: Option<&Collector>) -> Result<Headgate> {
    let mut start = Start::role("gateway", folder)?;
    if let Some(collector) = collector {
        start = start.flag("--otlp-endpoint", &collector.url());
    }
    let node = start
        .flag("--control", control.field("sync_url"))
        .flag("--join-token", &join_token(control).await?)
        .flag("--worker-threads", "1")
        .flag("--egress-allow-private", "127.0.0.0/8")
        .ready()
        .await?;
    node.until_ready().await?;
    let client = Actor::new(node.field("gateway_url"), Some(control.field("virtual_key")))?;
    wait::until("the node serves the route", Duration::from_secs(10), async || {
        let models = client.get("/v1/models").await?;
        let is_there = models["data"].as_array().into_iter().flatten().any(|model| model["id"] == ROUTE);
        Ok(is_there.then_some(()))
    })
    .await?;
    Ok(node)
}

/// Makes a token with which one more node can join.
async fn join_token(control: &Headgate) -> Result<String> {
    let organization = control.field("organization_id").to_owned();
    let admin = control.as_admin()?;
    let groups = admin.get(&format!("/api/v1/organizations/{organization}/node-groups")).await?;
    let wanted = json!({ "group_id": &groups["items"][0]["id"] });
    let token = admin.post(&format!("/api/v1/organizations/{organization}/join-tokens"), &wanted).await?;
    Ok(token["secret"].as_str().context("a join token has a secret")?.to_owned())
}

/// CPU microseconds per request of a process under a closed loop.
async fn cpu_per_request(pid: u32, shot: &Shot, case: &Case) -> Result<f64> {
    let before = cpu_time(pid)?;
    closed_loop(shot, case.n_connections, case.n_requests).await.with_context(|| format!("case `{}`", case.name))?;
    let spent = cpu_time(pid)?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(case.n_requests)?))
}

async fn compare(bed: &Bed, case: &Case, rounds: usize) -> Result<Figure> {
    let forwarder = bed.shot_of(case, bed.forwarder.address);
    let node = if case.is_traced { &bed.traced } else { &bed.node };
    let gateway = bed.shot_of(case, address_of(node)?);
    // One round that does not count: pools fill, pages are touched.
    let warm = Case { n_requests: case.n_connections * 2, body: case.body.clone(), ..*case };
    bed.collector.forget();
    cpu_per_request(bed.forwarder.pid(), &forwarder, &warm).await?;
    cpu_per_request(node.pid(), &gateway, &warm).await?;
    let n_spans = Cell::new(0);
    // Each connection makes its share of the calls, whole ones only.
    let n_made = |case: &Case| case.n_requests / case.n_connections * case.n_connections;
    let mut n_calls = n_made(&warm);
    let (mut ratios, mut bare, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let baseline = cpu_per_request(bed.forwarder.pid(), &forwarder, case).await?;
        let measured = cpu_per_request(node.pid(), &gateway, case).await?;
        n_spans.set(n_spans.get() + bed.collector.forget());
        n_calls += n_made(case);
        bare.push(baseline);
        ours.push(measured);
        ratios.push(measured / baseline.max(0.001));
    }
    // A span of the call and one of its attempt: a cost without them would be that of losing them.
    let n_owed = if case.is_traced { usize::try_from(2 * n_calls)? } else { 0 };
    let waited = wait::until("every span has come", Duration::from_secs(20), async || {
        n_spans.set(n_spans.get() + bed.collector.forget());
        Ok((n_spans.get() >= n_owed).then_some(()))
    });
    let have_come = waited.await.is_ok() && (!case.is_traced || n_spans.get() == n_owed);
    let n_spans = n_spans.get();
    let [ratio, bare, ours] = [ratios.as_slice(), bare.as_slice(), ours.as_slice()].map(median);
    let (least, most) = spread(&ratios);
    let spans = if case.is_traced { format!(", {n_spans} of {n_owed} spans came") } else { String::new() };
    Ok(Figure {
        name: case.name,
        text: format!(
            "{ratio:.2} x bare ({least:.2} to {most:.2}, bound {:.2}, goal {:.2}); CPU per request {ours:.1} us, bare {bare:.1} us{spans}",
            case.bound, case.goal
        ),
        json: json!({ "case": case.name, "ratio": ratio, "ratios": ratios, "cpu_us": ours, "bare_cpu_us": bare, "bound": case.bound, "goal": case.goal, "spans": n_spans }),
        holds: ratio <= case.bound && have_come,
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn spread(values: &[f64]) -> (f64, f64) {
    (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(f64::MIN, f64::max))
}

fn quantile_ms(sorted: &[Duration], share: usize) -> f64 {
    let at = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

/// Added latency at 1,000 requests a second, open loop: gateway minus direct, forwarder minus direct.
///
/// Short turns, one after the other, and the median of what the turns say: a machine's mood lasts longer than a turn.
async fn latency(bed: &Bed, effort: &Effort) -> Result<Figure> {
    let body = chat(MODEL, 1_024, "bench-whole", false);
    let path = "/v1/chat/completions";
    let turn = async |address| on_schedule(&bed.shot(address, path, &body), 1_000, effort.turn).await;
    let (mut medians, mut bares, mut tails, mut bare_tails) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.n_turns {
        let direct = turn(bed.upstream.address).await?;
        let bare = turn(bed.forwarder.address).await?;
        let ours = turn(bed.gateway()?).await?;
        let added = |taken: &[Duration], share| quantile_ms(taken, share) - quantile_ms(&direct, share);
        medians.push(added(&ours, 50));
        bares.push(added(&bare, 50));
        tails.push(added(&ours, 99));
        bare_tails.push(added(&bare, 99));
    }
    let [p50, bare, p99, bare_p99] =
        [medians.as_slice(), bares.as_slice(), tails.as_slice(), bare_tails.as_slice()].map(median);
    let (least, most) = spread(&medians);
    Ok(Figure {
        name: "added at 1,000 a second",
        text: format!(
            "p50 {p50:.3} ms ({least:.3} to {most:.3}, bare {bare:.3}, bound 0.300), p99 {p99:.3} ms (bare {bare_p99:.3}, goal 1.000)"
        ),
        json: json!({
            "case": "added latency", "p50_ms": p50, "p50_turns_ms": medians, "bare_p50_ms": bare,
            "p99_ms": p99, "bare_p99_ms": bare_p99, "bound": 0.3
        }),
        holds: p50 < 0.3,
    })
}

/// Resident memory while streams are open: of nodes that have just started, of one that comes from the load above, and of the
/// forwarder, which comes from the same.
async fn memory(bed: &Bed) -> Result<Figure> {
    let (idle, few) = fresh(bed, FEW).await?;
    let (_, many) = fresh(bed, MANY).await?;
    let loaded = holding(bed, bed.node.pid(), bed.gateway()?, FEW).await?;
    let bare = holding(bed, bed.forwarder.pid(), bed.forwarder.address, FEW).await?;
    Ok(Figure {
        name: "memory",
        text: format!(
            "{few:.1} MB resident at {FEW} streams (idle {idle:.1} MB, bound {FEW_MB}), {many:.1} MB at {MANY} (goal {MANY_MB}); \
             {FEW} after load {loaded:.1} MB, bare forwarder {bare:.1} MB"
        ),
        json: json!({
            "case": "memory", "peak_mb": few, "idle_mb": idle, "many_mb": many, "loaded_mb": loaded, "bare_mb": bare,
            "bound": FEW_MB, "many_goal": MANY_MB
        }),
        holds: few < FEW_MB,
    })
}

/// Starts a node and gives its memory before and while streams are open.
async fn fresh(bed: &Bed, n_streams: u64) -> Result<(f64, f64)> {
    let folder = data_dir()?;
    let node = start_node(&bed.control, folder.path(), None).await?;
    let idle = resident_mb(node.pid())?;
    let held = holding(bed, node.pid(), address_of(&node)?, n_streams).await?;
    Ok((idle, held))
}

/// Opens streams and returns the most memory that the process held meanwhile.
async fn holding(bed: &Bed, pid: u32, address: SocketAddr, n_streams: u64) -> Result<f64> {
    let shot = bed.shot(address, "/v1/chat/completions", &chat(MODEL, 1_024, "bench-hold", true));
    let holding = closed_loop(&shot, n_streams, n_streams);
    let watching = async {
        let mut peak = 0.0_f64;
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        for _ in 0..40 {
            ticks.tick().await;
            peak = peak.max(resident_mb(pid)?);
        }
        anyhow::Ok(peak)
    };
    let (held, peak) = tokio::join!(holding, watching);
    held?;
    peak
}
