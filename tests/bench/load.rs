//! The load: keep-alive connections that send one canned request again and again, in a closed loop or on a schedule.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// Where to send, and what.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The path.
    pub(crate) path: &'static str,
    /// The key, as a bearer token; the forwarder and the mock do not look at it.
    pub(crate) key: String,
    /// The body.
    pub(crate) body: Bytes,
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    runtime::tasks::spawn_local("bench.connection", async move { drop(connection.await) });
    Ok(sender)
}

/// Sends one request and reads the whole answer; gives the number of body frames.
async fn fire(sender: &mut SendRequest<Full<Bytes>>, shot: &Shot) -> Result<u64> {
    let request = Request::post(shot.path)
        .header(header::HOST, shot.address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", shot.key))
        .body(Full::new(shot.body.clone()))?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let mut body = answer.into_body();
    let mut n_frames = 0;
    let mut tail = Bytes::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            n_frames += 1;
            tail = data;
        }
    }
    if !status.is_success() {
        bail!("{} answered {status}: {}", shot.path, String::from_utf8_lossy(&tail));
    }
    Ok(n_frames)
}

/// Sends `n_requests` over `n_connections` as fast as answers come; gives the number of body frames.
pub(crate) async fn closed_loop(shot: &Shot, n_connections: u64, n_requests: u64) -> Result<u64> {
    let each = n_requests / n_connections;
    let workers = (0..n_connections).map(|_| async move {
        let mut sender = connect(shot.address).await?;
        let mut n_frames = 0;
        for _ in 0..each {
            n_frames += fire(&mut sender, shot).await?;
        }
        anyhow::Ok(n_frames)
    });
    Ok(try_join_all(workers).await?.into_iter().sum())
}

/// Sends at a constant rate whatever the server does; gives the latencies.
///
/// A request that its connection could not send in time, because the answer before it was late, counts from the moment it was
/// due. One that was sent in time counts from its sending: the runtime's timer wakes up to a millisecond late, by the same
/// amount for a whole turn, and that lateness is no server's.
pub(crate) async fn on_schedule(shot: &Shot, per_second: u32, lasting: Duration) -> Result<Vec<Duration>> {
    const N_WORKERS: u32 = 50;
    let begin = Instant::now() + Duration::from_millis(200);
    let step = Duration::from_secs(1) * N_WORKERS / per_second;
    let workers = (0..N_WORKERS).map(|worker| async move {
        let mut sender = connect(shot.address).await?;
        let mut due = begin + step * worker / N_WORKERS;
        let mut latencies = Vec::new();
        while due < begin + lasting {
            let is_late = Instant::now() > due;
            sleep_until(due).await;
            let since = if is_late { due } else { Instant::now() };
            fire(&mut sender, shot).await?;
            latencies.push(since.elapsed());
            due += step;
        }
        anyhow::Ok(latencies)
    });
    let mut all: Vec<Duration> = try_join_all(workers).await?.into_iter().flatten().collect();
    all.sort_unstable();
    Ok(all)
}
