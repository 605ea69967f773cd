//! Sessions between a scripted client and a scripted upstream, over connections in memory and virtual time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use realtime::session::{GONE_AFTER, LAST_WORD, STALLED_AFTER};
use realtime::{
    CloseCode, CloseFrame, Done, End, Host, Limits, Message, Refusal, Session, Socket, Transcribed, UpstreamError,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const MAX_MESSAGE: usize = 64 * 1024;
const IDLE: Duration = Duration::from_secs(600);
const TOTAL: Duration = Duration::from_secs(3_600);

/// What the host was told.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Began(String),
    Done(Done),
    Transcribed(String, Option<String>),
    Failed(String),
}

/// What the host is to say.
#[derive(Default)]
struct Answers {
    respond: Option<Refusal>,
    began: Option<Refusal>,
    go_on: Option<Refusal>,
}

struct Script {
    told: mpsc::UnboundedSender<Told>,
    answers: Arc<Mutex<Answers>>,
}

impl Script {
    fn tell(&self, told: Told) {
        // A test that is over listens no more.
        let _ = self.told.send(told);
    }
}

fn refusal(code: &str, is_final: bool) -> Refusal {
    Refusal { error: json!({"type": "invalid_request_error", "code": code, "message": "no", "param": null}), is_final }
}

fn said(no: Option<&Refusal>) -> Result<(), Refusal> {
    no.map_or(Ok(()), |refusal| Err(refusal.clone()))
}

impl Host for Script {
    fn may_respond(&mut self) -> Result<(), Refusal> {
        said(self.answers.lock().respond.as_ref())
    }

    fn may_set_model(&mut self, model: &str) -> Result<Option<String>, Refusal> {
        match model {
            "gpt-realtime" => Ok(None),
            "voice" => Ok(Some("gpt-realtime".to_owned())),
            _ => Err(refusal("model_not_allowed", false)),
        }
    }

    fn may_transcribe(&mut self, model: &str) -> Result<(), Refusal> {
        if model == "whisper-1" { Ok(()) } else { Err(refusal("model_not_allowed", false)) }
    }

    fn began(&mut self, turn: &str) -> Result<(), Refusal> {
        self.tell(Told::Began(turn.to_owned()));
        said(self.answers.lock().began.as_ref())
    }

    fn done(&mut self, done: &Done) {
        self.tell(Told::Done(done.clone()));
    }

    fn transcribed(&mut self, transcribed: &Transcribed, model: Option<&str>) {
        self.tell(Told::Transcribed(transcribed.item.to_string(), model.map(str::to_owned)));
    }

    fn failed(&mut self, error: &UpstreamError) {
        self.tell(Told::Failed(error.code.to_string()));
    }

    fn exhausted(&mut self, _: Duration) {}

    fn may_go_on(&mut self) -> Result<(), Refusal> {
        said(self.answers.lock().go_on.as_ref())
    }

    fn explain(&mut self, end: &End) -> Option<Refusal> {
        match end {
            End::UpstreamGone => Some(refusal("upstream_error", true)),
            End::Draining => Some(refusal("draining", true)),
            End::Idle | End::Expired => Some(refusal("session_expired", true)),
            End::TooLarge => Some(refusal("request_too_large", true)),
            _ => None,
        }
    }
}

/// A session under way.
struct Bench {
    client: Socket,
    upstream: Socket,
    told: mpsc::UnboundedReceiver<Told>,
    answers: Arc<Mutex<Answers>>,
    leave: Arc<Notify>,
    cut: Arc<Notify>,
    run: JoinHandle<Option<End>>,
}

struct Ends {
    client: DuplexStream,
    upstream: DuplexStream,
    told: mpsc::UnboundedReceiver<Told>,
    answers: Arc<Mutex<Answers>>,
    leave: Arc<Notify>,
    cut: Arc<Notify>,
    run: JoinHandle<Option<End>>,
}

/// Starts a session between raw connections with this much room.
async fn start(room: usize) -> Ends {
    let ((client, near_client), (upstream, near_upstream)) = (duplex(room), duplex(room));
    let (tell, told) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(Answers::default()));
    let (leave, cut) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let host = Script { told: tell, answers: answers.clone() };
    let near_client = realtime::to_client(Box::new(near_client), MAX_MESSAGE).await;
    let near_upstream = realtime::to_upstream(Box::new(near_upstream), MAX_MESSAGE).await;
    let limits = Limits { idle: IDLE, ends_at: Instant::now() + TOTAL };
    let session = Session::new(near_client, near_upstream, None, host, limits);
    let (leaving, cutting) = (leave.clone(), cut.clone());
    let run = async move { session.run(leaving.notified(), cutting.notified()).await.0 };
    Ends { client, upstream, told, answers, leave, cut, run: runtime::tasks::spawn("test.session", run) }
}

impl Bench {
    async fn new() -> Self {
        let Ends { client, upstream, told, answers, leave, cut, run } = start(256 * 1024).await;
        // The roles are the other way round here.
        let client = realtime::to_upstream(Box::new(client), 1024 * 1024).await;
        let upstream = realtime::to_client(Box::new(upstream), 1024 * 1024).await;
        Self { client, upstream, told, answers, leave, cut, run }
    }

    async fn end(self) -> End {
        self.run.await.expect("ends").expect("does not panic")
    }
}

async fn say(socket: &mut Socket, event: &Value) {
    socket.send(Message::text(event.to_string())).await.expect("as the test has it");
}

/// The next message that is not a ping or its answer.
async fn hear(socket: &mut Socket) -> Message {
    loop {
        match socket.next().await.expect("as the test has it").expect("as the test has it") {
            Message::Ping(_) | Message::Pong(_) => {}
            other => return other,
        }
    }
}

async fn hear_event(socket: &mut Socket) -> Value {
    serde_json::from_str(hear(socket).await.to_text().expect("as the test has it")).expect("as the test has it")
}

async fn hear_close(socket: &mut Socket) -> Option<(u16, String)> {
    match hear(socket).await {
        Message::Close(frame) => frame.map(|frame| (frame.code.into(), frame.reason.to_string())),
        other => unreachable!("not the end: {other:?}"),
    }
}

fn done(id: &str) -> Value {
    json!({"type": "response.done", "response": {"id": id, "status": "completed", "usage": {"input_tokens": 7, "output_tokens": 3}}})
}

fn created(id: &str) -> Value {
    json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}})
}

#[tokio::test(start_paused = true)]
async fn messages_pass_as_they_came() {
    let mut bench = Bench::new().await;
    let text = r#"{ "type":"input_audio_buffer.append",  "audio":"AAAA" , "x":1.50}"#;
    bench.client.send(Message::text(text)).await.expect("as the test has it");
    assert_eq!(hear(&mut bench.upstream).await, Message::text(text));
    bench.client.send(Message::binary(vec![0, 159, 146, 150])).await.expect("as the test has it");
    assert_eq!(hear(&mut bench.upstream).await, Message::binary(vec![0, 159, 146, 150]));
    bench.upstream.send(Message::binary(vec![1, 2])).await.expect("as the test has it");
    assert_eq!(hear(&mut bench.client).await, Message::binary(vec![1, 2]));
    bench.upstream.send(Message::text(text)).await.expect("as the test has it");
    assert_eq!(hear(&mut bench.client).await, Message::text(text));
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_arrives_whole() {
    let mut ends = start(64 * 1024).await;
    let mut upstream = realtime::to_client(Box::new(ends.upstream), MAX_MESSAGE).await;
    // Two masked fragments of one text with a ping between them; the mask is zero.
    let pieces: [&[u8]; 3] = [
        &[0x01, 0x85, 0, 0, 0, 0, b'H', b'e', b'l', b'l', b'o'],
        &[0x89, 0x80, 0, 0, 0, 0],
        &[0x80, 0x81, 0, 0, 0, 0, b'!'],
    ];
    for piece in pieces {
        ends.client.write_all(piece).await.expect("as the test has it");
    }
    assert_eq!(hear(&mut upstream).await, Message::text("Hello!"));
    let mut pong = [0; 2];
    ends.client.read_exact(&mut pong).await.expect("as the test has it");
    assert_eq!(pong, [0x8a, 0], "the ping is answered at once");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_booked_before_it_is_seen() {
    let mut bench = Bench::new().await;
    say(&mut bench.client, &json!({"type": "response.create"})).await;
    assert_eq!(hear_event(&mut bench.upstream).await["type"], "response.create");
    say(&mut bench.upstream, &created("resp_1")).await;
    say(&mut bench.upstream, &done("resp_1")).await;
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.created");
    assert_eq!(bench.told.recv().await, Some(Told::Began("resp_1".to_owned())));
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.done");
    // No waiting: it was told before.
    let Some(Some(Told::Done(told))) = bench.told.recv().now_or_never() else { panic!("not booked") };
    assert_eq!((&*told.id, told.usage.map(|usage| usage.total())), ("resp_1", Some(10)));
}

#[tokio::test(start_paused = true)]
async fn transcriptions_are_booked_with_their_model() {
    let mut bench = Bench::new().await;
    let session = json!({"audio": {"input": {"transcription": {"model": "whisper-1"}}}});
    say(&mut bench.upstream, &json!({"type": "session.updated", "session": session})).await;
    let kind = "conversation.item.input_audio_transcription.completed";
    say(&mut bench.upstream, &json!({"type": kind, "item_id": "item_1", "usage": {"type": "duration", "seconds": 2}}))
        .await;
    assert_eq!(bench.told.recv().await, Some(Told::Transcribed("item_1".to_owned(), Some("whisper-1".to_owned()))));
    say(&mut bench.upstream, &json!({"type": "error", "error": {"code": "oops"}})).await;
    assert_eq!(bench.told.recv().await, Some(Told::Failed("oops".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_refused_turn_leaves_the_session() {
    let mut bench = Bench::new().await;
    bench.answers.lock().respond = Some(refusal("rate_limited", false));
    say(&mut bench.client, &json!({"type": "response.create", "event_id": "mine"})).await;
    let error = hear_event(&mut bench.client).await;
    assert_eq!(error["type"], "error");
    assert_eq!((&error["error"]["code"], &error["error"]["event_id"]), (&json!("rate_limited"), &json!("mine")));
    bench.answers.lock().respond = None;
    say(&mut bench.client, &json!({"type": "response.create", "event_id": "again"})).await;
    assert_eq!(hear_event(&mut bench.upstream).await["event_id"], "again", "the first never went on");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_the_upstream_made_can_be_refused() {
    let mut bench = Bench::new().await;
    bench.answers.lock().began = Some(refusal("rate_limited", false));
    say(&mut bench.upstream, &created("resp_1")).await;
    let cancel = hear_event(&mut bench.upstream).await;
    assert_eq!((&cancel["type"], &cancel["response_id"]), (&json!("response.cancel"), &json!("resp_1")));
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.created");
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "rate_limited");
}

#[tokio::test(start_paused = true)]
async fn a_session_keeps_its_model() {
    let mut bench = Bench::new().await;
    let update = |model: &str| json!({"type": "session.update", "session": {"type": "realtime", "model": model}});
    say(&mut bench.client, &update("voice")).await;
    assert_eq!(hear_event(&mut bench.upstream).await["session"]["model"], "gpt-realtime");
    say(&mut bench.client, &update("gpt-realtime")).await;
    assert_eq!(hear_event(&mut bench.upstream).await["session"]["model"], "gpt-realtime");
    say(&mut bench.client, &update("dearer")).await;
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "model_not_allowed");
    bench.client.send(Message::text(r#"{"type":"session.update","type":"x"}"#)).await.expect("as the test has it");
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "request_invalid");
}

#[tokio::test(start_paused = true)]
async fn what_writes_down_is_asked_about() {
    let mut bench = Bench::new().await;
    let update =
        |model: &str| json!({"type": "session.update", "session": {"input_audio_transcription": {"model": model}}});
    say(&mut bench.client, &update("whisper-1")).await;
    assert_eq!(hear_event(&mut bench.upstream).await, update("whisper-1"));
    say(&mut bench.client, &update("dearer")).await;
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "model_not_allowed");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_ends_the_session_within_moments() {
    let mut bench = Bench::new().await;
    bench.answers.lock().go_on = Some(refusal("key_revoked", true));
    let revoked_at = Instant::now();
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "key_revoked");
    assert!(revoked_at.elapsed() <= Duration::from_secs(2));
    assert_eq!(hear_close(&mut bench.client).await, Some((1008, "key_revoked".to_owned())));
    assert_eq!(hear_close(&mut bench.upstream).await, Some((1001, String::new())));
    let Bench { client, upstream, run, .. } = bench;
    drop((client, upstream));
    assert!(matches!(run.await.expect("ends").expect("does not panic"), End::Refused(refusal) if refusal.is_final));
}

#[tokio::test(start_paused = true)]
async fn a_turn_under_way_is_cancelled_and_booked_when_the_client_leaves() {
    let mut bench = Bench::new().await;
    say(&mut bench.upstream, &created("resp_1")).await;
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.created");
    drop(bench.client);
    let cancel = hear_event(&mut bench.upstream).await;
    assert_eq!((&cancel["type"], &cancel["response_id"]), (&json!("response.cancel"), &json!("resp_1")));
    say(&mut bench.upstream, &done("resp_1")).await;
    assert_eq!(bench.told.recv().await, Some(Told::Began("resp_1".to_owned())));
    assert!(matches!(bench.told.recv().await, Some(Told::Done(_))));
    assert_eq!(hear_close(&mut bench.upstream).await, Some((1001, String::new())));
    drop(bench.upstream);
    assert_eq!(bench.run.await.expect("ends").expect("does not panic"), End::ClientGone);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_without_a_last_word_is_not_waited_for_long() {
    let mut bench = Bench::new().await;
    say(&mut bench.upstream, &created("resp_1")).await;
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.created");
    let left_at = Instant::now();
    bench.client.send(Message::Close(None)).await.expect("as the test has it");
    assert_eq!(hear_close(&mut bench.client).await, None);
    assert_eq!(bench.run.await.expect("ends").expect("does not panic"), End::ClientClosed(None));
    assert!(left_at.elapsed() <= LAST_WORD * 2);
}

#[tokio::test(start_paused = true)]
async fn words_of_parting_are_carried_across() {
    let frame = CloseFrame { code: CloseCode::Library(4_001), reason: "enough".into() };
    let mut bench = Bench::new().await;
    bench.client.send(Message::Close(Some(frame.clone()))).await.expect("as the test has it");
    assert_eq!(hear_close(&mut bench.upstream).await, Some((4_001, "enough".to_owned())));
    let mut other = Bench::new().await;
    other.upstream.send(Message::Close(Some(frame.clone()))).await.expect("as the test has it");
    assert_eq!(hear_close(&mut other.client).await, Some((4_001, "enough".to_owned())));
    drop(other.client);
    assert_eq!(other.run.await.expect("ends").expect("does not panic"), End::UpstreamClosed(Some(frame)));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_dies_is_told_of() {
    let mut bench = Bench::new().await;
    drop(bench.upstream);
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "upstream_error");
    assert_eq!(hear_close(&mut bench.client).await, Some((1011, "upstream_error".to_owned())));
    drop(bench.client);
    assert_eq!(bench.run.await.expect("ends").expect("does not panic"), End::UpstreamGone);
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_limit_ends_the_session() {
    let mut bench = Bench::new().await;
    bench.client.feed(Message::text("x".repeat(MAX_MESSAGE + 1))).await.expect("as the test has it");
    bench.client.flush().await.expect("as the test has it");
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "request_too_large");
    assert_eq!(hear_close(&mut bench.client).await, Some((1009, "request_too_large".to_owned())));
    assert_eq!(hear_close(&mut bench.upstream).await, Some((1001, String::new())));
    let mut other = Bench::new().await;
    other.upstream.send(Message::text("x".repeat(MAX_MESSAGE + 1))).await.expect("as the test has it");
    assert_eq!(hear_event(&mut other.client).await["error"]["code"], "upstream_error");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_the_other_side_and_nothing_piles_up() {
    const ROOM: usize = 8 * 1024;
    let mut ends = start(ROOM).await;
    // 4 KiB messages that nobody reads: each takes up what the pipes and one message hold, and no more.
    let message: Vec<u8> = [&[0x82, 0x7e, 0x10, 0x00][..], &[7; 4_096]].concat();
    let mut n_bytes = 0;
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(1), ends.upstream.write_all(&message)).await {
        n_bytes += message.len();
        assert!(n_bytes <= 64 * 1024, "it takes without end");
    }
    // Two pipes, the read buffer of each side, the message under way.
    assert!(n_bytes <= 2 * ROOM + 32 * 1024, "{n_bytes}");
    let blocked_at = Instant::now();
    assert_eq!(ends.run.await.expect("ends").expect("does not panic"), End::ClientGone);
    assert!(blocked_at.elapsed() <= STALLED_AFTER + Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn who_stays_silent_is_asked_and_then_gone() {
    let ends = start(64 * 1024).await;
    let mut upstream = realtime::to_client(Box::new(ends.upstream), MAX_MESSAGE).await;
    let answering = runtime::tasks::spawn("test.peer", async move { while let Some(Ok(_)) = upstream.next().await {} });
    let started_at = Instant::now();
    assert_eq!(
        ends.run.await.expect("ends").expect("does not panic"),
        End::ClientGone,
        "the upstream answers pings, the client does not"
    );
    assert!((GONE_AFTER..GONE_AFTER * 2).contains(&started_at.elapsed()));
    answering.await.expect("ends");
    drop(ends.client);
}

#[tokio::test(start_paused = true)]
async fn nothing_said_and_too_long_a_session_both_end() {
    let mut bench = Bench::new().await;
    let started_at = Instant::now();
    let mut upstream = bench.upstream;
    runtime::tasks::spawn("test.peer", async move { while let Some(Ok(_)) = upstream.next().await {} });
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "session_expired");
    assert_eq!(hear_close(&mut bench.client).await, Some((1008, "session_expired".to_owned())));
    assert!((IDLE..IDLE + Duration::from_secs(5)).contains(&started_at.elapsed()));

    let bench = Bench::new().await;
    let started_at = Instant::now();
    let Bench { mut client, mut upstream, run, .. } = bench;
    runtime::tasks::spawn("test.peer", async move { while let Some(Ok(_)) = upstream.next().await {} });
    let talking = async {
        while client.send(Message::text("{}")).await.is_ok() {
            tokio::time::timeout(IDLE / 10, async { while let Some(Ok(_)) = client.next().await {} }).await.ok();
        }
    };
    let (end, ()) = tokio::join!(run, talking);
    assert_eq!(end.expect("ends"), Some(End::Expired));
    assert!((TOTAL..TOTAL + Duration::from_secs(10)).contains(&started_at.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_lets_the_turn_under_way_end() {
    let mut bench = Bench::new().await;
    say(&mut bench.upstream, &created("resp_1")).await;
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.created");
    bench.leave.notify_one();
    say(&mut bench.client, &json!({"type": "response.create"})).await;
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "draining", "nothing new");
    say(&mut bench.upstream, &done("resp_1")).await;
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.done");
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "draining");
    assert_eq!(hear_close(&mut bench.client).await, Some((1001, "draining".to_owned())));
    drop((bench.client, bench.upstream));
    assert_eq!(bench.run.await.expect("ends").expect("does not panic"), End::Draining);
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_the_turn_under_way_too() {
    let mut bench = Bench::new().await;
    say(&mut bench.upstream, &created("resp_1")).await;
    assert_eq!(hear_event(&mut bench.client).await["type"], "response.created");
    bench.cut.notify_one();
    assert_eq!(hear_event(&mut bench.upstream).await["type"], "response.cancel");
    assert_eq!(hear_event(&mut bench.client).await["error"]["code"], "draining");
    assert_eq!(hear_close(&mut bench.client).await, Some((1001, "draining".to_owned())));
    let Bench { client, upstream, .. } = &mut bench;
    let _ = (client.close(None).await, upstream.close(None).await);
    assert_eq!(bench.end().await, End::Draining);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_the_protocol_is_told_how() {
    // An unmasked frame, a reserved opcode, text that is no UTF-8.
    let frames: [(&[u8], u16); 3] =
        [(&[0x81, 0x01, b'x'], 1002), (&[0x83, 0x80, 0, 0, 0, 0], 1002), (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007)];
    for (frame, code) in frames {
        let mut ends = start(64 * 1024).await;
        ends.client.write_all(frame).await.expect("as the test has it");
        let mut client = realtime::to_upstream(Box::new(ends.client), MAX_MESSAGE).await;
        assert_eq!(hear_close(&mut client).await.map(|(code, _)| code), Some(code), "{frame:?}");
        assert!(matches!(ends.run.await.expect("ends").expect("does not panic"), End::ClientBroke(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn echo_says_back_what_was_written() {
    let (near, far) = duplex(64 * 1024);
    let echo = runtime::tasks::spawn("test.echo", realtime::echo::serve(Box::new(far), "echo-1".to_owned()));
    let mut socket = realtime::to_upstream(Box::new(near), MAX_MESSAGE).await;
    let created = hear_event(&mut socket).await;
    assert_eq!((&created["type"], &created["session"]["model"]), (&json!("session.created"), &json!("echo-1")));
    let content = json!([{"type": "input_text", "text": "Hello there"}]);
    say(
        &mut socket,
        &json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}),
    )
    .await;
    say(&mut socket, &json!({"type": "response.create"})).await;
    let mut text = String::new();
    let done = loop {
        let event = hear_event(&mut socket).await;
        match event["type"].as_str() {
            Some("response.output_text.delta") => text.push_str(event["delta"].as_str().expect("as the test has it")),
            Some("response.done") => break event,
            _ => {}
        }
    };
    assert_eq!(text, "Hello there");
    assert_eq!(done["response"]["output"][0]["content"][0]["text"], "Hello there");
    assert_eq!(done["response"]["usage"]["total_tokens"], 6);
    say(&mut socket, &json!({"type": "input_audio_buffer.commit", "event_id": "e"})).await;
    assert_eq!(hear_event(&mut socket).await["error"]["event_id"], "e");
    socket.close(None).await.expect("as the test has it");
    assert!(matches!(hear(&mut socket).await, Message::Close(_)));
    echo.await.expect("ends");
}
