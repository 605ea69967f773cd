//! A receiver of webhooks on a real socket: answers as it was told and shows what it got.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What came in.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// How it answers.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// With a head and a body.
    Answer(&'static str, &'static str),
    /// Not at all.
    Silence,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    got: mpsc::UnboundedReceiver<Got>,
}

impl Receiver {
    /// Plays what is listed, then answers 200.
    pub(crate) async fn start(script: Vec<Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}/hook?token=canary", listener.local_addr().expect("an address"));
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let (tell, got) = mpsc::unbounded_channel();
        runtime::tasks::spawn("test.receiver", async move {
            while let Ok((stream, _)) = listener.accept().await {
                runtime::tasks::spawn("test.connection", serve(stream, Arc::clone(&script), tell.clone()));
            }
        });
        Self { url, got }
    }

    pub(crate) async fn next(&mut self) -> Got {
        self.got.recv().await.expect("a request")
    }

    /// What came in and was not looked at yet.
    pub(crate) fn rest(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.got.try_recv().ok()).collect()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<VecDeque<Play>>>, tell: mpsc::UnboundedSender<Got>) {
    let mut bytes = Vec::new();
    loop {
        let Some(got) = read(&mut stream, &mut bytes).await else { return };
        drop(tell.send(got));
        let play = script.lock().pop_front();
        let (head, body) = match play.unwrap_or(Play::Answer("200 OK", "ok")) {
            Play::Silence => std::future::pending().await,
            Play::Answer(head, body) => (head, body),
        };
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Got> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    while bytes.len() < end + 4 + length {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = bytes[end + 4..end + 4 + length].to_vec();
    bytes.drain(..end + 4 + length);
    Some(Got { path, headers, body })
}
