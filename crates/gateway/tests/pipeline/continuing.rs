//! A stream that breaks off after its first byte goes on at another target, where the route says so: what each is asked, what the
//! client reads, what is booked.

use domain::NanoUsd;
use domain::route::{Node, RetryBudget, Rules, StreamFailure};
use domain::usage::{AttemptOutcome, Outcome, UsageEvent};
use llm::canonical::event::{Delta, Event};
use llm::dialect::{Dialect, Mode, Speak as _, Undo};
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask, chat, chat_stream, gemini, messages_stream, next, responses};
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{
    Play, Step, anthropic_steps, chunk, finish_chunk, gemini_piece, openai_end, openai_error, openai_whole,
    responses_stream, stream,
};

fn rules() -> Rules {
    Rules { on_stream_failure: StreamFailure::Continue, is_rehearsal_allowed: true, ..Rules::default() }
}

/// `one` (OpenAI's chat), `two` (Anthropic), `three` (Gemini), `four` (Mistral), `five` (vLLM) and `six` (OpenAI's responses, too) at hosts of
/// these names, and the route `m` over some of them in order.
fn bench(order: &[u128], rules: Rules) -> Bench {
    let mut world = World::empty();
    world.deployment(1, "one", "openai_compatible", "http://one.test/v1");
    world.deployment(2, "two", "anthropic", "http://two.test");
    world.deployment(3, "three", "gemini", "http://three.test");
    world.deployment(4, "four", "mistral", "http://four.test/v1");
    world.deployment(5, "five", "vllm", "http://five.test/v1");
    world.deployment(6, "six", "openai", "http://six.test/v1");
    let children = order.iter().map(|n| Node::Deployment { deployment_id: deployment_id(*n) }).collect();
    world.tree(1, "m", Node::Ordered { children }, rules);
    Bench::of(&world)
}

fn host(n: u128) -> &'static str {
    ["one.test", "two.test", "three.test", "four.test", "five.test", "six.test"][usize::try_from(n).expect("few") - 1]
}

/// The first words of an answer of an upstream.
fn opening(n: u128) -> Vec<Step> {
    match n {
        2 => anthropic_saying("Hello")[..3].to_vec(),
        3 => vec![Step::Chunk(format!("data: {}\r\n\r\n", gemini_piece("Hello", 2, None)).into())],
        _ => vec![chunk("Hello")],
    }
}

/// An answer of an upstream that says the rest.
fn rest(n: u128) -> Play {
    match n {
        2 => stream(anthropic_saying(" there")),
        3 => stream(vec![Step::Chunk(format!("data: {}\r\n\r\n", gemini_piece(" there", 5, Some("STOP"))).into())]),
        _ => stream([vec![chunk(" there")], openai_end()].concat()),
    }
}

fn anthropic_saying(text: &str) -> Vec<Step> {
    let event = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let steps = anthropic_steps();
    let said = Step::Chunk(format!("event: content_block_delta\ndata: {event}\n\n").into());
    let words: Vec<usize> = (0..steps.len()).filter(|at| is_word(&steps[*at])).collect();
    let (first, last) = (words[0], words[words.len() - 1]);
    [&steps[..first], &[said], &steps[last + 1..]].concat()
}

fn is_word(step: &Step) -> bool {
    matches!(step, Step::Chunk(bytes) if bytes.windows(10).any(|part| part == b"text_delta"))
}

/// An answer as a client reads it.
struct Read {
    text: String,
    events: Vec<Event>,
}

fn read(dialect: Dialect, answer: &Answer) -> Read {
    let mut events = Vec::new();
    let mut decoder = dialect.decoder(Mode::Stream, Undo::default());
    decoder.push(&answer.body, &mut events).expect("a stream that can be read");
    assert_eq!(decoder.finish(&mut events), Ok(()), "{}", answer.text());
    let text = events.iter().filter_map(|event| match event {
        Event::Delta { delta: Delta::Text(text), .. } => Some(&**text),
        _ => None,
    });
    Read { text: text.collect(), events }
}

fn count(read: &Read, is: impl Fn(&Event) -> bool) -> usize {
    read.events.iter().filter(|event| is(event)).count()
}

fn ask(dialect: Dialect) -> Ask {
    match dialect {
        Dialect::AnthropicMessages => messages_stream("m"),
        Dialect::OpenAiResponses => responses("m", &json!({"stream": true, "store": false})),
        Dialect::Gemini => gemini("m", "streamGenerateContent?alt=sse"),
        _ => chat_stream("m"),
    }
}

fn outcomes(event: &UsageEvent) -> Vec<(u64, AttemptOutcome)> {
    let of = |n: u128| deployment_id(n);
    let number = |id| (1..7).find(|n| of(u128::from(*n)) == id).unwrap_or_default();
    event.attempts.iter().map(|attempt| (number(attempt.deployment_id), attempt.outcome)).collect()
}

fn sent(bench: &Bench, at: usize) -> Value {
    serde_json::from_slice(&bench.upstreams.calls()[at].body).expect("JSON")
}

const CLIENTS: [Dialect; 4] =
    [Dialect::OpenAiChat, Dialect::AnthropicMessages, Dialect::OpenAiResponses, Dialect::Gemini];

#[tokio::test(start_paused = true)]
async fn every_client_reads_one_whole_answer_whoever_began_it_and_whoever_went_on() {
    for client in CLIENTS {
        for (first, second) in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)] {
            for end in [vec![Step::Break], vec![Step::Hang], vec![]] {
                let shown = format!("{client:?} {first} {second} {end:?}");
                let bench = bench(&[first, second], rules());
                bench.upstreams.play(host(first), stream([opening(first), end].concat()));
                bench.upstreams.play(host(second), rest(second));
                let answer = bench.ask(ask(client)).await;
                assert_eq!(answer.status, 200, "{shown}: {}", answer.text());
                let read = read(client, &answer);
                assert_eq!(read.text, "Hello there", "{shown}: {}", answer.text());
                let n_starts = count(&read, |event| matches!(event, Event::Start(_)));
                let n_ends = count(&read, |event| matches!(event, Event::Finish(_) | Event::Done));
                let n_blocks = count(&read, |event| matches!(event, Event::BlockStart { .. }));
                assert_eq!((n_starts, n_ends, n_blocks), (1, 2, 1), "{shown}: {}", answer.text());
                assert!(!answer.text().contains("\"error\":{"), "{shown}: {}", answer.text());
                let event = bench.event().await;
                assert_eq!((event.outcome, event.routing.as_ref().map(|it| it.continued)), (Outcome::Success, Some(1)));
                let numbers: Vec<u128> = outcomes(&event).iter().map(|(n, _)| u128::from(*n)).collect();
                assert_eq!(numbers, [first, second], "{shown}");
                assert_ne!(event.attempts[0].outcome, AttemptOutcome::Success);
                assert_eq!(event.attempts[1].outcome, AttemptOutcome::Success);
                assert_eq!(event.deployment_id, Some(deployment_id(second)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_responses_goes_on_in_its_item() {
    for second in [2, 6] {
        let bench = bench(&[6, second], rules());
        let Play::Answer { steps, .. } = responses_stream() else { unreachable!("it is one") };
        let [begun, _, end] = &steps[..] else { unreachable!("three events") };
        let said = |text: &str| {
            let delta = json!({"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_up",
                "output_index": 0, "content_index": 0, "delta": text});
            Step::Chunk(format!("event: response.output_text.delta\ndata: {delta}\n\n").into())
        };
        bench.upstreams.play("six.test", stream(vec![begun.clone(), said("Hello"), Step::Break]));
        let again = stream(vec![begun.clone(), said(" there"), end.clone()]);
        bench.upstreams.play(host(second), if second == 6 { again } else { rest(2) });
        let answer = bench.ask(ask(Dialect::OpenAiResponses)).await;
        let read = read(Dialect::OpenAiResponses, &answer);
        assert_eq!(read.text, "Hello there", "{}", answer.text());
        let last = answer.text().rsplit("data: ").next().expect("an event");
        let last: Value = serde_json::from_str(last.trim()).expect("JSON");
        assert_eq!(last["type"], "response.completed");
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], "Hello there", "{last}");
        assert_eq!(last["response"]["output"].as_array().map(Vec::len), Some(1), "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_keeps_the_name_that_it_began_with() {
    for client in CLIENTS {
        let bench = bench(&[1, 2], rules());
        bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
        bench.upstreams.play("two.test", rest(2));
        let answer = bench.ask(ask(client)).await;
        assert!(!answer.text().contains("msg_1"), "{client:?}: {}", answer.text());
    }
    let bench = bench(&[1, 1], rules());
    bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
    let other = match chunk(" there") {
        Step::Chunk(bytes) => String::from_utf8(bytes.to_vec()).expect("text").replace("chatcmpl-1", "chatcmpl-2"),
        _ => unreachable!("it is one"),
    };
    bench.upstreams.play("one.test", stream([vec![Step::Chunk(other.into())], openai_end()].concat()));
    let answer = bench.ask(chat_stream("m")).await;
    assert!(!answer.text().contains("chatcmpl-2"), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_is_told_to_go_on_in_the_way_that_it_knows() {
    for (second, mark) in [(1, None), (4, Some("/messages/1/prefix")), (5, Some("/continue_final_message"))] {
        let bench = bench(&[1, second], rules());
        bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
        bench.upstreams.play(host(second), rest(second));
        bench.ask(chat_stream("m")).await;
        let body = sent(&bench, 1);
        assert_eq!(body["messages"][1]["role"], "assistant", "{body}");
        assert_eq!(body["messages"][1]["content"], "Hello", "{body}");
        if let Some(mark) = mark {
            assert_eq!(body.pointer(mark), Some(&json!(true)), "{body}");
            assert_eq!(body["messages"].as_array().map(Vec::len), Some(2), "{body}");
        } else {
            let told = body["messages"][2]["content"].as_str().expect("an instruction");
            assert!(told.contains("Go on from exactly where it ends"), "{body}");
        }
        assert_eq!(body["stream"], true);
    }
}

#[tokio::test(start_paused = true)]
async fn words_that_are_said_twice_are_left_out() {
    let bench = bench(&[1, 1], rules());
    let said = "The quick brown fox jumps";
    bench.upstreams.play("one.test", stream(vec![chunk(said), Step::Break]));
    let again = [chunk("brown fox "), chunk("jumps over"), chunk(" the dog")];
    bench.upstreams.play("one.test", stream([again.to_vec(), openai_end()].concat()));
    let answer = bench.ask(chat_stream("m")).await;
    assert_eq!(read(Dialect::OpenAiChat, &answer).text, "The quick brown fox jumps over the dog");
}

#[tokio::test(start_paused = true)]
async fn both_attempts_are_booked_and_the_client_is_told_the_sum() {
    let bench = bench(&[2, 1], rules());
    bench.upstreams.play("two.test", stream([opening(2), vec![Step::Break]].concat()));
    bench.upstreams.play("one.test", rest(1));
    let body = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Hi"}]});
    let answer = bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await;
    let event = bench.event().await;
    let [first, second] = &event.attempts[..] else { panic!("two attempts: {event:?}") };
    assert_eq!((first.usage.input, second.usage.input, second.usage.output), (10, 10, 5));
    assert!(first.usage.output > 0 && first.cost > NanoUsd::ZERO && second.cost > NanoUsd::ZERO);
    let told: Vec<(u64, u64)> = read(Dialect::OpenAiChat, &answer)
        .events
        .iter()
        .filter_map(
            |it| if let Event::Usage(usage) = it { Some((usage.tokens.input, usage.tokens.output)) } else { None },
        )
        .collect();
    assert_eq!(told, [(20, 5 + first.usage.output)], "{}", answer.text());
    assert_eq!((event.usage.input, event.usage.output), (20, 5 + first.usage.output));
}

#[tokio::test(start_paused = true)]
async fn the_last_event_says_that_the_answer_went_on() {
    let bench = bench(&[1, 2], rules());
    bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
    bench.upstreams.play("two.test", rest(2));
    let answer = bench.ask(chat_stream("m").header("x-headgate-debug", "1")).await;
    assert!(answer.text().contains("\"continued\":1") && answer.text().contains("\"attempts\":2"), "{}", answer.text());
    assert!(answer.text().contains("\"provider\":\"anthropic\""), "{}", answer.text());
    assert_eq!(answer.header("x-headgate-attempts"), "1", "said before");
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_middle_is_held_back_and_told_when_nobody_goes_on() {
    let error = "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n";
    let cut = || stream(vec![chunk("Hello"), Step::Chunk(error.into())]);
    let good = bench(&[1, 2], rules());
    good.upstreams.play("one.test", cut());
    good.upstreams.play("two.test", rest(2));
    let answer = good.ask(chat_stream("m")).await;
    assert_eq!(read(Dialect::OpenAiChat, &answer).text, "Hello there");
    assert!(!answer.text().contains("boom"));

    let bad = bench(&[1, 2], rules());
    bad.upstreams.play("one.test", cut());
    for _ in 0..3 {
        bad.upstreams.play("two.test", openai_error(500, "down"));
    }
    let answer = bad.ask(chat_stream("m")).await;
    assert!(answer.text().contains("boom") && !answer.text().contains("[DONE]"), "{}", answer.text());
    let event = bad.event().await;
    assert_eq!((event.outcome, event.deployment_id), (Outcome::UpstreamBroken, Some(deployment_id(1))));
    assert_eq!(event.routing.as_ref().map(|it| it.continued), Some(0));
    assert!(event.attempts.len() > 1, "{:?}", outcomes(&event));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_ends_with_the_error_event() {
    let call = json!([{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":"}}]);
    let delta = |delta: Value, index: u32| {
        let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{"index": index, "delta": delta, "finish_reason": null}]});
        Step::Chunk(format!("data: {event}\n\n").into())
    };
    let streams = [
        vec![chunk("Hello"), delta(json!({"tool_calls": call}), 0), Step::Break],
        vec![chunk("Hello"), delta(json!({"content": "Other"}), 1), Step::Break],
        vec![delta(json!({"refusal": "No"}), 0), Step::Break],
        vec![chunk("Hello"), finish_chunk(), Step::Break],
    ];
    for steps in streams {
        let bench = bench(&[1, 2], rules());
        bench.upstreams.play("one.test", stream(steps.clone()));
        bench.upstreams.play("two.test", rest(2));
        let answer = bench.ask(chat_stream("m")).await;
        assert!(answer.text().contains("\"upstream_error\""), "{steps:?}: {}", answer.text());
        assert_eq!(bench.upstreams.hosts(), ["one.test"], "{steps:?}");
    }
    for more in [json!({"response_format": {"type": "json_object"}}), json!({"n": 2}), json!({"logprobs": true})] {
        let bench = bench(&[1, 2], rules());
        bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
        let mut body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        let answer = bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await;
        assert!(answer.text().contains("\"upstream_error\""), "{more}: {}", answer.text());
        assert_eq!(bench.upstreams.hosts(), ["one.test"], "{more}");
    }
    let bench = bench(&[1, 2], Rules::default());
    bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
    assert!(bench.ask(chat_stream("m")).await.text().contains("\"upstream_error\""), "the route does not say so");
    assert_eq!(bench.upstreams.hosts(), ["one.test"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_on_as_often_as_attempts_are_left() {
    let bench = bench(&[1, 2, 3], rules());
    bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
    let middle = anthropic_saying(" my");
    let until = middle.iter().position(is_word).expect("a word") + 1;
    bench.upstreams.play("two.test", stream([&middle[..until], &[Step::Break]].concat()));
    bench.upstreams.play("three.test", rest(3));
    let answer = bench.ask(chat_stream("m")).await;
    assert_eq!(read(Dialect::OpenAiChat, &answer).text, "Hello my there");
    assert_eq!(sent(&bench, 2)["contents"][1]["parts"][0]["text"], "Hello my");
    assert_eq!(bench.event().await.routing.map(|it| it.continued), Some(2));
}

#[tokio::test(start_paused = true)]
async fn the_same_target_is_asked_again_only_within_the_retry_budget() {
    for (burst, n_calls) in [(20, 2), (0, 1)] {
        let bench = bench(&[1], Rules { retry_budget: RetryBudget { burst, per_second: 0 }, ..rules() });
        bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
        bench.upstreams.play("one.test", rest(1));
        let answer = bench.ask(chat_stream("m")).await;
        assert_eq!(bench.upstreams.calls().len(), n_calls);
        assert_eq!(answer.text().contains("[DONE]"), n_calls == 2, "{}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn thoughts_of_who_goes_on_are_not_shown_after_the_first_words() {
    let thought = |text: &str| {
        let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{"index": 0, "delta": {"reasoning_content": text}, "finish_reason": null}]});
        Step::Chunk(format!("data: {event}\n\n").into())
    };
    for (begun, shown) in [(vec![thought("A"), chunk("Hello")], 1), (vec![thought("A")], 2)] {
        let bench = bench(&[1, 1], rules());
        let rest = if shown == 1 { " there" } else { "Hello there" };
        bench.upstreams.play("one.test", stream([begun, vec![Step::Break]].concat()));
        bench.upstreams.play("one.test", stream([vec![thought("B"), chunk(rest)], openai_end()].concat()));
        let answer = bench.ask(messages_stream("m")).await;
        let read = read(Dialect::AnthropicMessages, &answer);
        assert_eq!(read.text, "Hello there");
        let is_thought = |event: &Event| matches!(event, Event::Delta { delta: Delta::Reasoning(_), .. });
        assert_eq!(count(&read, is_thought), shown, "{}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_another_target_is_asked_is_booked_as_gone() {
    let bench = bench(&[1, 2], rules());
    bench.upstreams.play("one.test", stream([opening(1), vec![Step::Break]].concat()));
    bench.upstreams.play("two.test", Play::Hang);
    let mut connection = crate::harness::client::Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("m")).await.into_body();
    assert!(next(&mut body).await.is_some());
    bench.upstreams.wait_for_calls(2).await;
    drop((body, connection));
    let event = bench.event().await;
    assert_eq!(event.outcome, Outcome::ClientClosed);
    assert_eq!(outcomes(&event), [(1, AttemptOutcome::Broken), (2, AttemptOutcome::Cancelled)]);
    assert_eq!(bench.gateway.metrics().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rehearsed_cut_goes_on_elsewhere_and_hurts_nobody() {
    let good = bench(&[1, 2], rules());
    for _ in 0..8 {
        good.upstreams.play("one.test", stream([opening(1), vec![chunk(" there")], openai_end()].concat()));
        good.upstreams.play("two.test", rest(2));
        let answer = good.ask(chat_stream("m").header("x-headgate-rehearse", "one=cut")).await;
        assert_eq!(read(Dialect::OpenAiChat, &answer).text, "Hello there");
    }
    assert_eq!(good.upstreams.hosts()[14..], ["one.test", "two.test"], "nothing is held against it");
    good.upstreams.play("one.test", openai_whole());
    assert_eq!(good.ask(chat("m")).await.status, 200);

    let plain = bench(&[1, 2], Rules { on_stream_failure: StreamFailure::Error, ..rules() });
    plain.upstreams.play("one.test", stream([opening(1), vec![chunk(" there")], openai_end()].concat()));
    let answer = plain.ask(chat_stream("m").header("x-headgate-rehearse", "one=cut")).await;
    assert!(answer.text().contains("Hello") && answer.text().contains("\"upstream_error\""), "{}", answer.text());
}
