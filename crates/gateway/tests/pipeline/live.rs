//! OpenAI's realtime events with a model of Gemini's: a client's WebSocket, a scripted Live API, and what the ledger says of them.

use std::sync::Arc;
use std::time::Duration;

use domain::NanoUsd;
use domain::budget::Measure;
use domain::usage::{AttemptOutcome, Endpoint, Outcome};
use futures_util::{SinkExt as _, StreamExt as _};
use policy::Content;
use policy::resource::KeyStatus;
use realtime::{CloseCode, CloseFrame, Message, Socket};
use serde_json::{Value, json};

use super::budgets::{Lent, budget};
use super::realtime::{Knock, hear_close, hear_event, say};
use crate::harness::Bench;
use crate::harness::policy::{SECRET, World, token};

const PATH: &str = "/v1/realtime?model=gemini";
/// The model's name in the catalog, which says how much a turn can take.
const MODEL: &str = "gemini-3.8-live";

/// `gemini` with the prices of its sessions, in dollars a million: text 1 and 2, sound 10 and 20.
fn priced() -> World {
    let mut world = World::standard();
    for content in &mut world.contents {
        match content {
            Content::Deployment(it) if it.upstream_model == "up-8" => MODEL.clone_into(&mut it.upstream_model),
            Content::Price(it) if it.upstream_model == "up-8" => {
                MODEL.clone_into(&mut it.upstream_model);
                it.rates.modal.audio_input = Some(domain::Price::per_million(10_000_000_000));
                it.rates.modal.audio_output = Some(domain::Price::per_million(20_000_000_000));
            }
            _ => {}
        }
    }
    world
}

/// What one turn of [`end`] costs: 40 tokens of text and 60 of sound in, 20 of sound out.
const COST: u64 = (40 + 60 * 10 + 20 * 20) * 1_000;

fn end() -> Value {
    json!({"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": 100, "responseTokenCount": 20,
        "totalTokenCount": 120, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}, {"modality": "TEXT", "tokenCount": 40}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}]}})
}

fn sound() -> Value {
    json!({"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AQID"}}]},
        "outputTranscription": {"text": "Good day."}}})
}

/// Gemini's JSON comes in binary messages.
async fn tell(socket: &mut Socket, message: Value) {
    socket.send(Message::binary(message.to_string())).await.expect("takes it");
}

/// Hears events until one of this kind, and gives it and the kinds before it.
async fn hear_until(socket: &mut Socket, kind: &str) -> (Value, Vec<String>) {
    let mut before = Vec::new();
    loop {
        let event = hear_event(socket).await;
        if event["type"] == kind {
            return (event, before);
        }
        before.push(event["type"].as_str().unwrap_or_default().to_owned());
    }
}

/// A session, with what it is set up with: the client's side and Gemini's, which has agreed to it.
async fn session(bench: &Bench, setup: &Value) -> (Socket, Socket) {
    let ((mut client, _), mut gemini) =
        tokio::join!(Knock::at(PATH).open(&bench.lane), bench.upstreams.socket("gemini.test"));
    assert_eq!(hear_event(&mut client).await["type"], "session.created");
    say(&mut client, json!({"type": "session.update", "session": setup})).await;
    assert_eq!(hear_event(&mut client).await["type"], "session.updated");
    say(&mut client, item("Hello")).await;
    ask(&mut client).await;
    assert_eq!(hear_event(&mut gemini).await["setup"]["model"], format!("models/{MODEL}"));
    tell(&mut gemini, json!({"setupComplete": {}})).await;
    let said = hear_event(&mut gemini).await;
    assert_eq!(said["clientContent"]["turns"][0]["parts"], json!([{"text": "Hello"}]));
    (client, gemini)
}

fn item(text: &str) -> Value {
    json!({"type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}})
}

async fn ask(client: &mut Socket) {
    say(client, json!({"type": "response.create"})).await;
}

#[tokio::test(start_paused = true)]
async fn a_written_turn_is_answered_and_booked_by_what_was_text_and_sound() {
    let bench = Bench::of(&priced());
    let (mut client, mut gemini) = session(&bench, &json!({"type": "realtime", "output_modalities": ["text"]})).await;
    tell(&mut gemini, sound()).await;
    tell(&mut gemini, end()).await;
    let (delta, _) = hear_until(&mut client, "response.output_text.delta").await;
    assert_eq!(delta["delta"], "Good day.");
    let (done, between) = hear_until(&mut client, "response.done").await;
    assert!(!between.iter().any(|kind| kind.contains("audio")), "{between:?}");
    assert_eq!(done["response"]["usage"]["input_token_details"]["audio_tokens"], 60);
    let turn = bench.event().await;
    assert_eq!((turn.endpoint, turn.outcome, turn.model.as_str()), (Endpoint::Realtime, Outcome::Success, "gemini"));
    assert_eq!((turn.usage.input, turn.usage.output, turn.is_estimated), (100, 20, false));
    let modal = turn.attempts[0].modal.as_deref().copied().expect("is noted");
    assert_eq!((modal.audio_input, modal.audio_output), (60, 20));
    assert_eq!(turn.cost, NanoUsd::from_nanos(i128::from(COST).try_into().expect("a cost")));
    assert_eq!(turn.attempts[0].upstream_request_id.as_deref(), done["response"]["id"].as_str());
    client.close(None).await.expect("closes");
    assert_eq!(hear_close(&mut gemini).await, Some(1000));
    let events = bench.ledger.wait(2).await;
    assert_eq!((events[1].endpoint, events[1].outcome), (Endpoint::RealtimeSession, Outcome::Success));

    let call = &bench.upstreams.calls()[0];
    assert_eq!(call.path, "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent");
    assert_eq!(call.headers["x-goog-api-key"], SECRET);
    let all = format!("{} {:?}", call.path, call.headers);
    assert!(!all.contains(token().expose()) && all.matches(SECRET).count() == 1, "{all}");
}

#[tokio::test(start_paused = true)]
async fn a_spoken_turn_is_heard_answered_and_cut_by_who_breaks_in() {
    let bench = Bench::of(&priced());
    let setup = json!({"audio": {"input": {"transcription": {}}}});
    let (mut client, mut gemini) = session(&bench, &setup).await;
    tell(&mut gemini, end()).await;
    assert_eq!(hear_until(&mut client, "response.done").await.0["response"]["status"], "completed");
    say(&mut client, json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
    let heard = hear_event(&mut gemini).await;
    assert_eq!(heard["realtimeInput"]["audio"], json!({"data": "AAAA", "mimeType": "audio/pcm;rate=24000"}));
    tell(&mut gemini, json!({"serverContent": {"inputTranscription": {"text": "And you?"}}})).await;
    tell(&mut gemini, sound()).await;
    let (delta, before) = hear_until(&mut client, "response.output_audio.delta").await;
    assert_eq!(delta["delta"], "AQID");
    assert!(before.iter().any(|kind| kind == "input_audio_buffer.committed"), "{before:?}");
    say(&mut client, json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
    hear_event(&mut gemini).await;
    tell(&mut gemini, json!({"serverContent": {"interrupted": true}})).await;
    let (written, _) = hear_until(&mut client, "conversation.item.input_audio_transcription.completed").await;
    assert_eq!(written["transcript"], "And you?");
    hear_until(&mut client, "input_audio_buffer.speech_started").await;
    tell(&mut gemini, end()).await;
    let (done, _) = hear_until(&mut client, "response.done").await;
    assert_eq!(done["response"]["status_details"]["reason"], "turn_detected");
    let events = bench.ledger.wait(2).await;
    assert_eq!((events[1].outcome, events[1].usage.total()), (Outcome::ClientClosed, 120));
    assert_eq!(events.len(), 2, "what was written down is a part of its turn");
}

#[tokio::test(start_paused = true)]
async fn a_tools_result_comes_back_under_its_call() {
    let bench = Bench::of(&priced());
    let setup =
        json!({"tools": [{"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}]});
    let (mut client, mut gemini) = session(&bench, &setup).await;
    tell(&mut gemini, json!({"toolCall": {"functionCalls": [{"id": "fc-1", "name": "look", "args": {}}]}})).await;
    let (call, _) = hear_until(&mut client, "response.function_call_arguments.done").await;
    assert_eq!((&call["call_id"], &call["name"]), (&json!("fc-1"), &json!("look")));
    hear_until(&mut client, "response.done").await;
    let output = json!({"type": "function_call_output", "call_id": "fc-1", "output": "rain"});
    say(&mut client, json!({"type": "conversation.item.create", "item": output})).await;
    ask(&mut client).await;
    let result = json!([{"name": "look", "response": {"output": "rain"}, "id": "fc-1"}]);
    assert_eq!(hear_event(&mut gemini).await, json!({"toolResponse": {"functionResponses": result}}));
    tell(&mut gemini, sound()).await;
    tell(&mut gemini, end()).await;
    hear_until(&mut client, "response.done").await;
    let events = bench.ledger.wait(2).await;
    assert_eq!((events[0].finish_reason.as_deref(), events[0].is_estimated), (Some("tool_calls"), true));
    assert_eq!((events[1].usage.total(), events[1].is_estimated), (120, false));
}

#[tokio::test(start_paused = true)]
async fn an_end_in_mid_turn_is_told_and_booked_as_what_it_is() {
    let bench = Bench::of(&priced());
    let (mut client, mut gemini) = session(&bench, &json!({})).await;
    tell(&mut gemini, sound()).await;
    hear_until(&mut client, "response.output_audio.delta").await;
    tell(&mut gemini, json!({"goAway": {"timeLeft": "5s"}})).await;
    gemini.close(Some(CloseFrame { code: CloseCode::Policy, reason: "".into() })).await.expect("closes");
    let (error, _) = hear_until(&mut client, "error").await;
    assert_eq!(error["error"]["code"], "session_expired");
    assert_eq!(hear_close(&mut client).await, Some(1001));
    drop(client);
    let events = bench.ledger.wait(2).await;
    assert_eq!((events[0].outcome, events[0].is_estimated), (Outcome::UpstreamBroken, true));
    assert_eq!((events[1].endpoint, events[1].outcome), (Endpoint::RealtimeSession, Outcome::Success));

    let bench = Bench::of(&priced());
    let (mut client, gemini) = session(&bench, &json!({})).await;
    drop(gemini);
    assert_eq!(hear_until(&mut client, "error").await.0["error"]["code"], "upstream_error");
    assert_eq!(hear_close(&mut client).await, Some(1011));
}

#[tokio::test(start_paused = true)]
async fn settings_that_gemini_does_not_take_end_the_session_in_its_words() {
    let bench = Bench::of(&priced());
    let ((mut client, _), mut gemini) =
        tokio::join!(Knock::at(PATH).open(&bench.lane), bench.upstreams.socket("gemini.test"));
    ask(&mut client).await;
    assert!(hear_event(&mut gemini).await["setup"].is_object());
    gemini.close(Some(CloseFrame { code: CloseCode::Policy, reason: "no such voice".into() })).await.expect("closes");
    let (error, _) = hear_until(&mut client, "error").await;
    assert_eq!(error["error"]["code"], "session_refused");
    assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains("no such voice")), "{error}");
    assert_eq!(hear_close(&mut client).await, Some(1008));

    // Or it never answers.
    let ((mut client, _), _gemini) =
        tokio::join!(Knock::at(PATH).open(&bench.lane), bench.upstreams.socket("gemini.test"));
    ask(&mut client).await;
    assert_eq!(hear_until(&mut client, "error").await.0["error"]["code"], "session_refused");
    assert_eq!(hear_until(&mut client, "error").await.0["error"]["code"], "upstream_error");
    assert_eq!(hear_close(&mut client).await, Some(1011));
}

#[tokio::test(start_paused = true)]
async fn no_turn_is_made_without_money() {
    // A turn can take the model's whole window, of the dearest kind of token.
    const WINDOW: u64 = 131_072 * 10_000 + 65_536 * 20_000;
    let mut world = priced();
    world.contents.push(Content::Budget(budget(Measure::Cost)));
    let lent = Lent::of(&world, WINDOW);
    let bench = &lent.bench;
    let (mut client, mut gemini) = session(bench, &json!({})).await;
    tell(&mut gemini, sound()).await;
    tell(&mut gemini, end()).await;
    hear_until(&mut client, "response.done").await;
    assert_eq!(bench.ledger.events.lock()[0].charges[0].amount, COST);
    // Money for the next turn is asked for meanwhile.
    tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await.expect_err("a while");
    ask(&mut client).await;
    assert_eq!(hear_until(&mut client, "error").await.0["error"]["code"], "budget_exhausted");

    // Nor is one that Gemini makes by itself, at the end of speech.
    say(&mut client, json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
    hear_event(&mut gemini).await;
    tell(&mut gemini, sound()).await;
    assert_eq!(hear_until(&mut client, "error").await.0["error"]["code"], "budget_exhausted");
    assert_eq!(hear_event(&mut gemini).await, json!({"clientContent": {"turns": [], "turnComplete": false}}));
    tell(&mut gemini, json!({"serverContent": {"interrupted": true}})).await;
    tell(&mut gemini, end()).await;
    assert_eq!(hear_until(&mut client, "response.done").await.0["response"]["status"], "cancelled");
    client.close(None).await.expect("closes");
    assert_eq!(lent.posted(3).await, 2 * COST, "what was made is paid for");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_revoked_ends_the_session_and_the_turn_under_way_is_paid_for() {
    let bench = Bench::of(&priced());
    let (mut client, mut gemini) = session(&bench, &json!({})).await;
    tell(&mut gemini, sound()).await;
    hear_until(&mut client, "response.output_audio.delta").await;
    let mut world = priced();
    world.key.status = KeyStatus::Revoked;
    bench.policy.store(Arc::new(world.snapshot()));
    assert_eq!(hear_until(&mut client, "error").await.0["error"]["code"], "key_revoked");
    assert_eq!(hear_close(&mut client).await, Some(1008));
    assert_eq!(hear_event(&mut gemini).await, json!({"clientContent": {"turns": [], "turnComplete": false}}));
    tell(&mut gemini, json!({"serverContent": {"interrupted": true}})).await;
    tell(&mut gemini, end()).await;
    assert_eq!(hear_close(&mut gemini).await, Some(1000));
    drop((client, gemini));
    let events = bench.ledger.wait(2).await;
    assert_eq!(
        (events[0].outcome, events[0].usage.total(), events[0].is_estimated),
        (Outcome::ClientClosed, 120, false)
    );
    assert_eq!(events[0].attempts[0].outcome, AttemptOutcome::Cancelled);
    assert_eq!((events[1].outcome, events[1].code.as_deref()), (Outcome::Rejected, Some("key_revoked")));
    assert_eq!(bench.gateway.metrics().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_says_nothing_any_more_is_gone() {
    let bench = Bench::of(&priced());
    let (mut client, mut gemini) = session(&bench, &json!({})).await;
    tell(&mut gemini, end()).await;
    hear_until(&mut client, "response.done").await;
    // It answers no ping, though its connection stands; the client answers its own.
    let told = hear_until(&mut client, "error").await.0;
    assert_eq!(told["error"]["code"], "upstream_error");
    assert_eq!(hear_close(&mut client).await, Some(1011));
    assert!(matches!(gemini.next().await, Some(Ok(Message::Ping(_)))));
}

#[tokio::test(start_paused = true)]
async fn sessions_that_only_write_down_are_refused_in_http() {
    let bench = Bench::of(&priced());
    let (status, error) = Knock::at("/v1/realtime?model=gemini&intent=transcription").refused(&bench.lane).await;
    assert_eq!(status, 400);
    assert!(error["message"].as_str().is_some_and(|text| text.contains("Google Gemini has no realtime")), "{error}");
}
