//! `bench overhead`: what a gateway node costs per request, with everything on, beside the bare forwarder.
//!
//! Rounds are interleaved (forwarder, gateway, forwarder, gateway, …) and the median of the per-round ratios is the figure,
//! so that a machine that slows down slows both.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::body::Bytes;
use serde_json::{Value, json};
use testkit::headgate::{Headgate, Start, data_dir};

use crate::load::{Shot, closed_loop, on_schedule};
use crate::process::{Helper, cpu_time, resident_mb};

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    rounds: usize,
    n_requests: u64,
    n_streams: u64,
    latency: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { rounds: 5, n_requests: 20_000, n_streams: 800, latency: Duration::from_secs(8) }
    }
}

impl Effort {
    /// Enough to see that everything runs; too little to quote.
    pub(crate) fn quick() -> Self {
        Self { rounds: 3, n_requests: 4_000, n_streams: 200, latency: Duration::from_secs(2) }
    }
}

/// What runs while measuring.
struct Bed {
    upstream: Helper,
    forwarder: Helper,
    control: Headgate,
    node: Headgate,
    _folders: [tempfile::TempDir; 2],
}

/// A case: one request shape and its bound.
struct Case {
    name: &'static str,
    path: &'static str,
    body: Bytes,
    n_connections: u64,
    n_requests: u64,
    /// The most that the median ratio may be; `None` reports only.
    bound: Option<f64>,
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
        writeln!(table, "{:<28} {}{mark}", figure.name, figure.text)?;
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
    eprintln!("{places}");
    runtime::tasks::wait_for_signal().await.context("waiting for a signal")?;
    Ok(())
}

/// Sends `n` requests of one case, named by a part of its name; `hold` opens that many streams at once.
pub(crate) async fn shoot(case: &str, address: SocketAddr, key: &str, n: u64) -> Result<()> {
    let local = tokio::task::LocalSet::new();
    let cases = cases(&Effort::default());
    let found = cases.iter().find(|known| known.name.contains(case));
    let (path, body, n_connections) = match found {
        Some(case) => (case.path, case.body.clone(), case.n_connections.min(n)),
        None if case == "hold" => ("/v1/chat/completions", chat(1_024, "bench-hold", true), n),
        None => anyhow::bail!("no case `{case}`"),
    };
    let shot = Shot { address, path, key: key.to_owned(), body };
    local.run_until(closed_loop(&shot, n_connections, n)).await?;
    Ok(())
}

fn chat(prompt_bytes: usize, user: &str, is_stream: bool) -> Bytes {
    let content = "lorem ipsum ".repeat(prompt_bytes / 12);
    let body = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": content }], "user": user, "stream": is_stream });
    Bytes::from(body.to_string())
}

fn messages(prompt_bytes: usize, is_stream: bool) -> Bytes {
    let content = "lorem ipsum ".repeat(prompt_bytes / 12);
    let user = if is_stream { "bench-stream" } else { "bench-whole" };
    let body = json!({
        "model": "gpt-4o-mini", "max_tokens": 512, "stream": is_stream,
        "messages": [{ "role": "user", "content": content }], "metadata": { "user_id": user }
    });
    Bytes::from(body.to_string())
}

fn cases(effort: &Effort) -> Vec<Case> {
    let case = |name, body, n_connections, n_requests, bound| Case {
        name,
        path: "/v1/chat/completions",
        body,
        n_connections,
        n_requests,
        bound,
    };
    vec![
        case("whole, 1 KB", chat(1_024, "bench-whole", false), 64, effort.n_requests, Some(2.0)),
        case("stream, 100 chunks", chat(1_024, "bench-stream", true), 200, effort.n_streams, Some(2.0)),
        case("whole, 100 KB", chat(100 * 1_024, "bench-whole", false), 64, effort.n_requests / 4, Some(2.0)),
        Case {
            path: "/v1/messages",
            ..case("translated, whole", messages(1_024, false), 64, effort.n_requests / 2, None)
        },
        Case { path: "/v1/messages", ..case("translated, stream", messages(1_024, true), 200, effort.n_streams, None) },
    ]
}

impl Bed {
    async fn make() -> Result<Self> {
        let upstream = Helper::start(&["serve-upstream"])?;
        let forwarder = Helper::start(&["serve-forwarder", &upstream.address.to_string()])?;
        let folders = [data_dir()?, data_dir()?];
        let control = Start::role("up", folders[0].path())?
            .env("OPENAI_API_KEY", "sk-bench")
            .env("OPENAI_BASE_URL", &format!("http://{}/v1", upstream.address))
            .ready()
            .await?;
        let node = start_node(&control, folders[1].path()).await?;
        Ok(Self { upstream, forwarder, control, node, _folders: folders })
    }

    async fn join_token(&self) -> Result<String> {
        join_token(&self.control).await
    }

    fn shot(&self, address: SocketAddr, path: &'static str, body: &Bytes) -> Shot {
        Shot { address, path, key: self.control.field("virtual_key").to_owned(), body: body.clone() }
    }

    fn gateway(&self) -> Result<SocketAddr> {
        address_of(&self.node)
    }
}

fn address_of(node: &Headgate) -> Result<SocketAddr> {
    let url = node.field("gateway_url");
    url.trim_start_matches("http://").parse().with_context(|| format!("reading the gateway's address from `{url}`"))
}

/// Starts one more node, on one thread.
async fn start_node(control: &Headgate, folder: &Path) -> Result<Headgate> {
    let node = Start::role("gateway", folder)?
        .flag("--control", control.field("sync_url"))
        .flag("--join-token", &join_token(control).await?)
        .flag("--worker-threads", "1")
        .flag("--egress-allow-private", "127.0.0.0/8")
        .ready()
        .await?;
    node.until_ready().await?;
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
    let forwarder = bed.shot(bed.forwarder.address, case.path, &case.body);
    let gateway = bed.shot(bed.gateway()?, case.path, &case.body);
    // One round that does not count: pools fill, pages are touched.
    let warm = Case { n_requests: case.n_connections * 2, body: case.body.clone(), ..*case };
    cpu_per_request(bed.forwarder.pid(), &forwarder, &warm).await?;
    cpu_per_request(bed.node.pid(), &gateway, &warm).await?;
    let (mut ratios, mut bare, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let baseline = cpu_per_request(bed.forwarder.pid(), &forwarder, case).await?;
        let measured = cpu_per_request(bed.node.pid(), &gateway, case).await?;
        bare.push(baseline);
        ours.push(measured);
        ratios.push(measured / baseline.max(0.001));
    }
    let [ratio, bare, ours] = [ratios.as_slice(), bare.as_slice(), ours.as_slice()].map(median);
    let spread = (ratios.iter().copied().fold(f64::MAX, f64::min), ratios.iter().copied().fold(0.0, f64::max));
    let bound = case.bound.map_or(String::new(), |bound| format!(", bound {bound:.2}"));
    Ok(Figure {
        name: case.name,
        text: format!(
            "{ratio:.2} x bare ({:.2} to {:.2}{bound}); CPU per request {ours:.1} us, bare {bare:.1} us",
            spread.0, spread.1
        ),
        json: json!({ "case": case.name, "ratio": ratio, "ratios": ratios, "cpu_us": ours, "bare_cpu_us": bare, "bound": case.bound }),
        holds: case.bound.is_none_or(|bound| ratio <= bound),
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn quantile_ms(sorted: &[Duration], share: usize) -> f64 {
    let at = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

/// Added latency at 1,000 requests a second, open loop: gateway minus direct, forwarder minus direct.
async fn latency(bed: &Bed, effort: &Effort) -> Result<Figure> {
    let body = chat(1_024, "bench-whole", false);
    let path = "/v1/chat/completions";
    let mut added = Vec::new();
    let mut added_bare = Vec::new();
    let mut added_tail = Vec::new();
    for _ in 0..3 {
        let direct = on_schedule(&bed.shot(bed.upstream.address, path, &body), 1_000, effort.latency).await?;
        let bare = on_schedule(&bed.shot(bed.forwarder.address, path, &body), 1_000, effort.latency).await?;
        let ours = on_schedule(&bed.shot(bed.gateway()?, path, &body), 1_000, effort.latency).await?;
        added.push(quantile_ms(&ours, 50) - quantile_ms(&direct, 50));
        added_bare.push(quantile_ms(&bare, 50) - quantile_ms(&direct, 50));
        added_tail.push(quantile_ms(&ours, 99) - quantile_ms(&direct, 99));
    }
    let [p50, bare, p99] = [added.as_slice(), added_bare.as_slice(), added_tail.as_slice()].map(median);
    Ok(Figure {
        name: "added at 1,000 a second",
        text: format!("p50 {p50:.3} ms (bare {bare:.3} ms, bound 0.300), p99 {p99:.3} ms"),
        json: json!({ "case": "added latency", "p50_ms": p50, "bare_p50_ms": bare, "p99_ms": p99, "bound": 0.3 }),
        holds: p50 < 0.3,
    })
}

/// Resident memory while 1,000 streams are open: of a node that has just started, of one that comes from the load above, and of
/// the forwarder, which comes from the same.
async fn memory(bed: &Bed) -> Result<Figure> {
    let folder = data_dir()?;
    let fresh = start_node(&bed.control, folder.path()).await?;
    let idle = resident_mb(fresh.pid())?;
    let new = holding(bed, fresh.pid(), address_of(&fresh)?).await?;
    drop(fresh);
    let loaded = holding(bed, bed.node.pid(), bed.gateway()?).await?;
    let bare = holding(bed, bed.forwarder.pid(), bed.forwarder.address).await?;
    Ok(Figure {
        name: "memory, 1,000 streams",
        text: format!(
            "{new:.1} MB resident (idle {idle:.1} MB, bound 60); after load {loaded:.1} MB, bare forwarder {bare:.1} MB"
        ),
        json: json!({ "case": "memory", "peak_mb": new, "idle_mb": idle, "loaded_mb": loaded, "bare_mb": bare, "bound": 60 }),
        holds: new < 60.0,
    })
}

/// Opens 1,000 streams and returns the most memory that the process held meanwhile.
async fn holding(bed: &Bed, pid: u32, address: SocketAddr) -> Result<f64> {
    const N_STREAMS: u64 = 1_000;
    let shot = bed.shot(address, "/v1/chat/completions", &chat(1_024, "bench-hold", true));
    let holding = closed_loop(&shot, N_STREAMS, N_STREAMS);
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
