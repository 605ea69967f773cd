//! Input that is odd or meant to harm, and what becomes of it: `docs/bad-inputs.md`.
//!
//! Each case is data: what is sent, and what must hold of it beside what the page says. Every case meets a node of its own,
//! whose upstreams would answer; afterwards the node must serve the next caller. Time is virtual.

mod calls;
mod content;
mod flood;
mod http1;
mod page;

use std::path::Path;

use tokio::time::Instant;

use self::flood::Flood;
use crate::harness::Bench;
use crate::harness::client::{Answer, Ask, chat};
use crate::harness::policy::{SECRET, World, token};
use crate::harness::upstream::{anthropic_whole, openai_whole};

/// What is sent.
enum Act {
    /// A body, as a call of Chat Completions and of Messages.
    Body(Vec<u8>, Vec<(&'static str, String)>),
    /// A body, as a call of Chat Completions.
    Chat(String),
    /// A call of its own.
    Ask(Ask),
    /// Bytes on a connection.
    Raw(Vec<u8>),
    /// Bytes on a connection whose client resets it at once.
    Leave(Vec<u8>),
    /// Frames of HTTP/2, again and again.
    Frames(Flood),
}

/// What must hold, beside what the page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// It is answered with 4xx or not at all, and no upstream is called.
    Refused,
    /// It is served as any other.
    Served,
    /// It is served, and this arrives at the upstream as it was.
    Arrives(&'static str),
    /// A connection is over within bounds, and no upstream is called.
    Bounded,
}

struct Case {
    class: &'static str,
    name: String,
    act: Act,
    promise: Promise,
}

impl Case {
    fn new(class: &'static str, name: impl Into<String>, promise: Promise, act: Act) -> Self {
        Self { class, name: name.into(), act, promise }
    }
}

/// What became of a case.
struct Outcome {
    answer: String,
    n_calls: usize,
}

fn bench() -> Bench {
    let bench = Bench::of(&World::standard());
    bench.upstreams.play("openai.test", openai_whole());
    bench.upstreams.play("anthropic.test", anthropic_whole());
    bench
}

/// Says what an answer is: its status and its code.
fn told(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    if answer.status.is_success() { status.to_string() } else { format!("{status} `{}`", answer.code()) }
}

/// Says what is wrong with what came back, whatever the page says.
fn list_broken(case: &Case, told: &[(u16, String)], bench: &Bench) -> Vec<String> {
    let mut broken = Vec::new();
    let calls = bench.upstreams.calls();
    let is_fine = match case.promise {
        Promise::Refused => told.iter().all(|(status, _)| (400..500).contains(status)) && calls.is_empty(),
        Promise::Bounded => calls.is_empty(),
        Promise::Served => told.iter().all(|(status, _)| *status == 200),
        Promise::Arrives(text) => {
            told.iter().all(|(status, _)| *status == 200)
                && calls.iter().any(|call| String::from_utf8_lossy(&call.body).contains(text))
        }
    };
    if !is_fine {
        broken.push(format!("{:?}, {} calls: {told:.500?}", case.promise, calls.len()));
    }
    if told.iter().any(|(_, text)| text.contains(token().expose()) || text.contains(SECRET)) {
        broken.push("a secret is told".to_owned());
    }
    if calls.iter().any(|call| !["openai.test", "anthropic.test"].contains(&call.host.as_str())) {
        broken.push("a host of the client's was called".to_owned());
    }
    broken
}

/// Reads the statuses out of what came back on a connection, with the code of each error.
fn read_raw(text: &str) -> Vec<(u16, String)> {
    let answers = text.split("HTTP/1.").skip(1);
    answers
        .map(|answer| {
            let status = answer.get(2..5).and_then(|status| status.parse().ok()).unwrap_or_default();
            (status, answer.to_owned())
        })
        // Leave to go on is no answer.
        .filter(|(status, _)| *status != 100)
        .collect()
}

fn code_in(text: &str) -> String {
    let code = text.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
    code.map(|code| format!(" `{code}`")).unwrap_or_default()
}

fn name_raw(answers: &[(u16, String)], seconds: u64) -> String {
    let mut names: Vec<(String, usize)> = Vec::new();
    for (status, text) in answers {
        let name = format!("{status}{}", code_in(text));
        match names.last_mut().filter(|(last, _)| *last == name) {
            Some((_, n)) => *n += 1,
            None => names.push((name, 1)),
        }
    }
    let names: Vec<String> =
        names.into_iter().map(|(name, n)| if n == 1 { name } else { format!("{n} × {name}") }).collect();
    let said = if names.is_empty() { "the connection is closed".to_owned() } else { names.join(", ") };
    // Whoever is answered may ask again for a while; only what took time before the answer is worth a word.
    let is_late = answers.iter().all(|(status, _)| *status == 408);
    if is_late { format!("{said} after {seconds} s") } else { said }
}

async fn run(case: &Case, act: Act) -> (Outcome, Vec<String>) {
    let (bench, mut broken) = (bench(), Vec::new());
    let (answer, told) = match act {
        Act::Body(body, headers) => {
            let mut answers = Vec::new();
            for path in ["/v1/chat/completions", "/v1/messages"] {
                let ask =
                    headers.iter().fold(Ask::post(path, body.clone()), |ask, (name, value)| ask.header(name, value));
                answers.push(bench.ask(ask).await);
            }
            let shown: Vec<String> = answers.iter().map(told).collect();
            let shown =
                if shown[0] == shown[1] { shown[0].clone() } else { format!("{}; Messages: {}", shown[0], shown[1]) };
            (shown, answers.into_iter().map(|answer| (answer.status.as_u16(), answer.text().to_owned())).collect())
        }
        Act::Chat(body) => one(&bench, Ask::post("/v1/chat/completions", body)).await,
        Act::Ask(ask) => one(&bench, ask).await,
        Act::Raw(bytes) => {
            let started = Instant::now();
            let text = bench.raw(&[&bytes]).await;
            let answers = read_raw(&text);
            if case.promise == Promise::Refused && answers.len() > 1 {
                broken.push("what stands behind it is answered, too".to_owned());
            }
            (name_raw(&answers, started.elapsed().as_secs()), answers)
        }
        Act::Leave(bytes) => {
            flood::leave(&bench, &bytes).await;
            ("nobody is there to be answered".to_owned(), Vec::new())
        }
        Act::Frames(flood) => (flood.run(&bench).await, Vec::new()),
    };
    broken.extend(list_broken(case, &told, &bench));
    let n_calls = bench.upstreams.calls().len();
    if bench.ask(chat("echo/echo-1")).await.status != 200 {
        broken.push("the next caller is not served".to_owned());
    }
    (Outcome { answer, n_calls }, broken)
}

async fn one(bench: &Bench, ask: Ask) -> (String, Vec<(u16, String)>) {
    let answer = bench.ask(ask).await;
    (told(&answer), vec![(answer.status.as_u16(), answer.text().to_owned())])
}

#[tokio::test(start_paused = true)]
async fn the_page_of_bad_inputs_is_what_happens() {
    let cases = [http1::list(), flood::list(), content::list(), calls::list()].into_iter().flatten();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for mut case in cases {
        let act = std::mem::replace(&mut case.act, Act::Raw(Vec::new()));
        let (outcome, broken) = run(&case, act).await;
        wrong.extend(broken.into_iter().map(|what| format!("{}, {}: {what}", case.class, case.name)));
        rows.push((case, outcome));
    }
    assert!(wrong.is_empty(), "{} cases are not as they must be:\n{}", wrong.len(), wrong.join("\n"));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/bad-inputs.md");
    testkit::golden::check(&page, &page::render(&rows));
}
