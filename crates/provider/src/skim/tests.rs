use proptest::prelude::*;

use super::*;

const OPENAI: &str = concat!(
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"say \\\"usage\\\":{\\\"prompt_tokens\\\":999}\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    ": a comment\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"usage\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5,\"total_tokens\":17,\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\n",
    "data: [DONE]\n\n",
);

const ANTHROPIC: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":7,\"cache_read_input_tokens\":3,\"cache_creation\":{\"ephemeral_5m_input_tokens\":5,\"ephemeral_1h_input_tokens\":2},\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"input\":{\"usage\":{\"output_tokens\":0}}}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"{\\\"type\\\":\\\"message_stop\\\"}\"}}\n\n",
    "event: content_block_delta\ndata: {\"index\":0,\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":42,\"output_tokens_details\":{\"thinking_tokens\":9}}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"output\":[],\"usage\":null}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"id\":\"m\",\"type\":\"message\",\"content\":[]}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":2,\"delta\":\"{\\\"type\\\":\\\"response.completed\\\"}\"}\n\n",
    "event: response.function_call_arguments.delta\ndata: {\"sequence_number\":3,\"type\":\"response.function_call_arguments.delta\",\"delta\":\"b\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":4,\"response\":{\"id\":\"r\",\"status\":\"completed\",\"error\":null,\"incomplete_details\":null,\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"\\\"function_call\\\"\"}]}],\"tools\":[{\"parameters\":{\"usage\":{\"input_tokens\":0}}}],\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":20,\"cache_write_tokens\":1},\"output_tokens\":87,\"output_tokens_details\":{\"reasoning_tokens\":64},\"total_tokens\":123},\"user\":null,\"metadata\":{}}}\n\n",
);

fn responses_usage() -> TokenUsage {
    TokenUsage { input: 15, cached_input: 20, cache_write_5m: 1, cache_write_1h: 0, output: 87, reasoning: 64 }
}

fn skim(dialect: Dialect, parts: &[&[u8]]) -> Skimmed {
    let mut skim = StreamSkim::new(dialect);
    for part in parts {
        skim.push(part);
    }
    skim.finish()
}

fn openai_expected() -> Skimmed {
    Skimmed {
        usage: Some(TokenUsage { input: 8, cached_input: 4, output: 5, reasoning: 2, ..TokenUsage::default() }),
        finish: Some(FinishReason::Stop),
        has_begun: true,
        is_complete: true,
        n_output_events: 2,
        n_before_usage: 2,
        n_bytes: OPENAI.len() as u64,
        ..Skimmed::default()
    }
}

#[test]
fn an_openai_stream_gives_usage_finish_and_output() {
    assert_eq!(skim(Dialect::OpenAiChat, &[OPENAI.as_bytes()]), openai_expected());
}

#[test]
fn an_anthropic_stream_gives_usage_finish_and_output() {
    let found = skim(Dialect::AnthropicMessages, &[ANTHROPIC.as_bytes()]);
    let usage =
        TokenUsage { input: 10, cached_input: 3, cache_write_5m: 5, cache_write_1h: 2, output: 42, reasoning: 9 };
    assert_eq!(found.usage, Some(usage));
    assert_eq!((found.finish, found.is_complete, found.n_output_events), (Some(FinishReason::Length), true, 2));
}

#[test]
fn a_stream_of_responses_gives_usage_finish_and_output() {
    let found = skim(Dialect::OpenAiResponses, &[RESPONSES.as_bytes()]);
    assert_eq!(found.usage, Some(responses_usage()));
    assert_eq!((found.finish, found.is_complete, found.n_output_events), (Some(FinishReason::Stop), true, 2));
    let ending = |response: &str| {
        let text = format!("data: {{\"type\":\"response.incomplete\",\"response\":{response}}}\n\n");
        let found = skim(Dialect::OpenAiResponses, &[text.as_bytes()]);
        (found.finish, found.error.map(|error| error.code))
    };
    let cut = r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#;
    assert_eq!(ending(cut), (Some(FinishReason::Length), None));
    let filtered = r#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}"#;
    assert_eq!(ending(filtered), (Some(FinishReason::ContentFilter), None));
    let called = r#"{"status":"completed","output":[{"type":"function_call","name":"f"}]}"#;
    assert_eq!(ending(called), (Some(FinishReason::ToolUse), None));
    let failed = r#"{"status":"failed","error":{"code":"server_error","message":"no"}}"#;
    assert_eq!(ending(failed), (None, Some("server_error".into())));
}

#[test]
fn a_stream_of_legacy_completions_gives_usage_finish_and_output() {
    let text = concat!(
        "data: {\"choices\":[{\"text\":\"a\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12}}\n\ndata: [DONE]\n\n",
    );
    let found = skim(Dialect::OpenAiCompletions, &[text.as_bytes()]);
    assert_eq!(found.usage, Some(TokenUsage { input: 5, output: 7, ..TokenUsage::default() }));
    assert_eq!((found.finish, found.is_complete, found.n_output_events), (Some(FinishReason::Length), true, 1));
}

#[test]
fn a_whole_response_gives_usage_and_finish() {
    let (_, rest) = RESPONSES.rsplit_once("\"response\":").unwrap();
    let found = skim_body(Dialect::OpenAiResponses, rest.strip_suffix("}\n\n").unwrap().as_bytes());
    assert_eq!((found.usage, found.finish), (Some(responses_usage()), Some(FinishReason::Stop)));
    assert!(found.is_complete && found.error.is_none());
    assert!(!skim_body(Dialect::OpenAiResponses, b"{\"usage\":{\"input_tokens\":8}").is_complete);
}

#[test]
fn the_last_event_of_a_response_with_pictures_still_gives_its_usage() {
    let picture = format!("\"output\":[{{\"type\":\"image_generation_call\",\"result\":\"{}\"}},", "x".repeat(3 << 20));
    let text = RESPONSES.replace("\"output\":[{", &(picture + "{"));
    for size in [100, 4096, 1 << 20, text.len()] {
        let parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let found = skim(Dialect::OpenAiResponses, &parts);
        assert_eq!((found.usage, found.is_complete, found.n_oversize), (Some(responses_usage()), true, 1), "{size}");
    }
}

#[test]
fn a_streamed_picture_longer_than_an_event_is_counted() {
    for kind in ["image_generation", "image_edit"] {
        let event = |name: &str, end: &str| {
            let data = "x".repeat(3 << 20);
            format!("event: {kind}.{name}\ndata: {{\"type\":\"{kind}.{name}\",\"b64_json\":\"{data}\"{end}}}\n\n")
        };
        let usage = ",\"usage\":{\"input_tokens\":10,\"output_tokens\":20,\"total_tokens\":30}";
        for (end, output) in [(usage, Some(20)), ("", None)] {
            let text = event("partial_image", "") + &event("completed", end);
            for size in [4096, 1 << 20, text.len()] {
                let parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let found = skim(Dialect::OpenAiResponses, &parts);
                let seen =
                    (found.units.images, found.usage.map(|usage| usage.output), found.is_complete, found.n_oversize);
                assert_eq!(seen, (1, output, true, 2), "{kind} {size}");
            }
        }
    }
}

const GEMINI: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":100,\"totalTokenCount\":101},\"modelVersion\":\"g\"}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"finishReason\":\"SAFETY\",\"usageMetadata\":{\"promptTokenCount\":1}}}}]}}]}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":100,\"cachedContentTokenCount\":80,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":3,\"totalTokenCount\":107}}\n\n",
);

fn gemini_usage() -> TokenUsage {
    TokenUsage { input: 20, cached_input: 80, output: 7, reasoning: 3, ..TokenUsage::default() }
}

#[test]
fn geminis_last_counts_count_and_arguments_cannot_fake_them() {
    let found = skim(Dialect::Gemini, &[GEMINI.as_bytes()]);
    assert_eq!((found.usage, found.finish), (Some(gemini_usage()), Some(FinishReason::ToolUse)));
    assert_eq!((found.is_complete, found.n_output_events, found.error), (true, 2, None));
    // As an array, however it comes.
    let items: Vec<&str> = GEMINI.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let array = format!("[{}\n]\n", items.join("\n,\r\n"));
    for size in [1, 7, 64, array.len()] {
        let parts: Vec<&[u8]> = array.as_bytes().chunks(size).collect();
        let again = skim(Dialect::Gemini, &parts);
        assert_eq!((again.usage, again.finish, again.n_output_events), (found.usage, found.finish, 2), "{size}");
    }
    let body = skim_body(Dialect::Gemini, items[2].as_bytes());
    assert_eq!((body.usage, body.finish, body.is_complete), (Some(gemini_usage()), Some(FinishReason::Stop), true));
    assert!(!skim_body(Dialect::Gemini, &items[2].as_bytes()[..40]).is_complete);
}

#[test]
fn geminis_errors_blocks_and_searches_are_seen() {
    let error = "{\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}";
    for text in [format!("data: {error}\n\n"), format!("[{error}]")] {
        let found = skim(Dialect::Gemini, &[text.as_bytes()]).error.unwrap();
        assert_eq!((&*found.kind, &*found.code, &*found.message), ("UNAVAILABLE", "503", "overloaded"));
    }
    let blocked = skim(Dialect::Gemini, &[b"data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n"]);
    assert_eq!((blocked.finish, blocked.is_complete), (Some(FinishReason::ContentFilter), true));
    let used = |grounding: &str| {
        let text = format!(
            "{{\"candidates\":[{{{grounding}}}],\"usageMetadata\":{{\"promptTokenCount\":9,\"toolUsePromptTokenCount\":5,\"totalTokenCount\":14}}}}"
        );
        skim_body(Dialect::Gemini, text.as_bytes()).usage.unwrap().input
    };
    assert_eq!((used(""), used("\"groundingMetadata\":{\"webSearchQueries\":[\"x\"]}")), (14, 9));
}

#[test]
fn a_picture_longer_than_an_event_still_gives_its_usage() {
    let picture = format!("\"parts\":[{{\"inlineData\":{{\"data\":\"{}\"}}}},", "x".repeat(3 << 20));
    let text = GEMINI.replacen("\"parts\":[{\"text\":\"\"", &(picture + "{\"text\":\"\""), 1);
    for size in [4096, 1 << 20, text.len()] {
        let parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let found = skim(Dialect::Gemini, &parts);
        assert_eq!((found.usage, found.n_oversize), (Some(gemini_usage()), 1), "{size}");
    }
}

#[test]
fn every_single_split_gives_the_same_result() {
    for (dialect, text) in [
        (Dialect::OpenAiChat, OPENAI),
        (Dialect::AnthropicMessages, ANTHROPIC),
        (Dialect::OpenAiResponses, RESPONSES),
        (Dialect::Gemini, GEMINI),
    ] {
        for text in [text.to_owned(), text.replace('\n', "\r\n"), text.replace('\n', "\r")] {
            let bytes = text.as_bytes();
            let whole = skim(dialect, &[bytes]);
            assert!(whole.is_complete && whole.usage.is_some());
            for at in 0..bytes.len() {
                assert_eq!(skim(dialect, &[&bytes[..at], &bytes[at..]]), whole, "split at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(skim(dialect, &single), whole);
        }
    }
}

#[test]
fn a_broken_stream_keeps_what_it_said() {
    let cut = OPENAI.find("data: {\"id\":\"c\",\"choices\":[],").unwrap();
    let found = skim(Dialect::OpenAiChat, &[&OPENAI.as_bytes()[..cut]]);
    assert_eq!((found.usage, found.is_complete, found.has_output()), (None, false, true));
    // Usage before the end mark still counts, with or without the closing blank line.
    let done = OPENAI.find("\n\ndata: [DONE]").unwrap();
    for end in [done, done + 1, done + 2] {
        assert_eq!(skim(Dialect::OpenAiChat, &[&OPENAI.as_bytes()[..end]]).usage, openai_expected().usage);
    }
}

#[test]
fn an_error_inside_a_stream_is_seen() {
    let check = |dialect, text: &str| skim(dialect, &[text.as_bytes()]).error.unwrap();
    let error =
        check(Dialect::OpenAiChat, "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"code\":500}}\n\n");
    assert_eq!((&*error.kind, &*error.code, &*error.message), ("server_error", "500", "no"));
    let error = check(Dialect::OpenAiChat, "data: {\"error\":\"plain\"}\n\n");
    assert_eq!(&*error.message, "plain");
    let text = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    assert_eq!(&*check(Dialect::AnthropicMessages, text).kind, "overloaded_error");
    for text in [
        r#"{"type":"error","code":"rate_limit_exceeded","message":"slow"}"#,
        r#"{"type":"error","error":{"type":"requests","code":"rate_limit_exceeded","message":"slow"}}"#,
    ] {
        let error = check(Dialect::OpenAiResponses, &format!("event: error\ndata: {text}\n\n"));
        assert_eq!((&*error.code, &*error.message), ("rate_limit_exceeded", "slow"));
    }
}

#[test]
fn tool_calls_and_reasoning_count_as_output() {
    let event = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta},\"finish_reason\":null}}]}}\n\n");
    let count = |delta: &str| skim(Dialect::OpenAiChat, &[event(delta).as_bytes()]).n_output_events;
    assert_eq!(count(r#"{"role":"assistant","content":null}"#), 0);
    assert_eq!(count(r#"{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":""}}]}"#), 1);
    assert_eq!(count(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}"#), 1);
    assert_eq!(count(r#"{"reasoning_content":"hm"}"#), 1);
    assert_eq!(count("{}"), 0);
}

#[test]
fn a_very_long_event_is_passed_over_and_the_next_one_read() {
    let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n{OPENAI}", "x".repeat(3 << 20));
    for size in [1000, 4096, long.len()] {
        let parts: Vec<&[u8]> = long.as_bytes().chunks(size).collect();
        let found = skim(Dialect::OpenAiChat, &parts);
        assert_eq!((found.usage, found.n_oversize, found.n_output_events), (openai_expected().usage, 1, 3), "{size}");
    }
}

#[test]
fn whole_bodies_are_read_by_top_level_field() {
    let body = br#"{"id":"x","choices":[{"message":{"content":"\"usage\":{}"},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    let found = skim_body(Dialect::OpenAiChat, body);
    assert_eq!(found.usage, Some(TokenUsage { input: 3, output: 1, ..TokenUsage::default() }));
    assert_eq!((found.finish, found.is_complete), (Some(FinishReason::ToolUse), true));

    // The model chooses the bytes of `input`; they must not be taken for the bill.
    let body = br#"{"content":[{"type":"tool_use","input":{"usage":{"input_tokens":0,"output_tokens":0},"stop_reason":"x"}}],"stop_reason":"tool_use","usage":{"input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":6}}"#;
    let found = skim_body(Dialect::AnthropicMessages, body);
    assert_eq!(found.usage, Some(TokenUsage { input: 5, cache_write_5m: 2, output: 6, ..TokenUsage::default() }));
    assert_eq!(found.finish, Some(FinishReason::ToolUse));

    let body = br#"{"object":"list","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(skim_body(Dialect::OpenAiChat, body).usage.unwrap().input, 8);
    assert!(!skim_body(Dialect::OpenAiChat, b"{\"usage\":{\"prompt_tokens\":8}").is_complete);

    // Usage first, as some compatible servers write it, and a nested key of the same name after it.
    let body = br#"{"usage":{"prompt_tokens":8,"completion_tokens":1},"choices":[{"arguments":{"a":1,"usage":{"prompt_tokens":0}}}]}"#;
    assert_eq!(skim_body(Dialect::OpenAiChat, body).usage.unwrap().input, 8);
    let body = br#"{"stop_reason":"end_turn","usage":{"input_tokens":8},"content":[{"input":{"a":1,"stop_reason":"x","usage":{"input_tokens":0}}}]}"#;
    assert_eq!(skim_body(Dialect::AnthropicMessages, body).usage.unwrap().input, 8);
}

#[test]
fn the_usage_event_is_withheld_from_a_client_that_did_not_ask() {
    let start = OPENAI.find("data: {\"id\":\"c\",\"choices\":[],").unwrap();
    let end = OPENAI.find("data: [DONE]").unwrap();
    let expected = format!("{}{}", &OPENAI[..start], &OPENAI[end..]);
    for size in 1..OPENAI.len() {
        let mut skim = StreamSkim::new(Dialect::OpenAiChat);
        let mut out = Vec::new();
        for part in OPENAI.as_bytes().chunks(size) {
            out.extend_from_slice(&skim.relay(Bytes::copy_from_slice(part)));
        }
        out.extend_from_slice(&skim.rest());
        assert_eq!(String::from_utf8_lossy(&out), expected, "{size}");
        assert_eq!(skim.finish(), openai_expected());
    }
}

#[test]
fn a_chunk_of_whole_events_is_relayed_as_the_same_buffer() {
    let mut skim = StreamSkim::new(Dialect::OpenAiChat);
    let chunk = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    assert_eq!(skim.relay(chunk.clone()).as_ptr(), chunk.as_ptr());
}

#[test]
fn nothing_after_the_end_mark_is_read_or_relayed() {
    let error = "data: {\"error\":{\"message\":\"no\"}}\n\ndata: oops\n\n";
    let openai = ("data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n", Dialect::OpenAiChat);
    let anthropic = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    for (said, dialect) in [openai, (anthropic, Dialect::AnthropicMessages)] {
        for line_end in ["\n", "\r\n", "\r"] {
            let (said, all) = (said.replace('\n', line_end), [said, error].concat().replace('\n', line_end));
            for (cut, withholds) in (0..=all.len()).flat_map(|cut| [(cut, false), (cut, true)]) {
                let mut skim = StreamSkim::new(dialect);
                let mut out = Vec::new();
                for part in [&all[..cut], &all[cut..]] {
                    let chunk = Bytes::copy_from_slice(part.as_bytes());
                    out.extend_from_slice(&if withholds { skim.relay(chunk) } else { skim.pass(chunk) });
                }
                assert_eq!(String::from_utf8_lossy(&out), said, "cut at {cut}, withholds: {withholds}");
                let found = skim.finish();
                assert!(found.is_complete && found.error.is_none() && !found.is_garbled, "cut at {cut}");
            }
        }
    }
}

#[test]
fn an_event_that_is_no_json_is_told_by_its_ends_and_not_relayed() {
    let good = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    for bad in
        ["data: oops\n\n", "data: <html>\n\n", "event: x\ndata:\"a\"\n\n", "data:  nul", "data: {\"choices\": oops\n\n"]
    {
        let text = format!("{good}{bad}{good}");
        let from = good.len() + bad.find("data").unwrap();
        for withholds in [false, true] {
            let mut skim = StreamSkim::new(Dialect::OpenAiChat);
            let chunk = Bytes::from(text.clone());
            let out = if withholds { skim.relay(chunk) } else { skim.pass(chunk) };
            // An event that is held until it is whole is not begun either.
            let kept = if withholds { good.len() } else { from };
            assert_eq!((out.as_ref(), skim.found().is_garbled), (&text.as_bytes()[..kept], true), "{bad}");
        }
        if bad.contains('{') {
            continue;
        }
        let mut skim = StreamSkim::new(Dialect::OpenAiChat);
        let mut n_passed = 0;
        for byte in text.bytes().map(|byte| Bytes::copy_from_slice(&[byte])) {
            if !skim.found().is_garbled {
                n_passed += skim.pass(byte).len();
            }
        }
        assert!(skim.found().is_garbled && n_passed <= from + "data:  ".len(), "{bad}");
    }
    let comments = format!(": ping\n\ndatabase: x\n\n{good}data: [DONE]\n\n");
    assert!(!skim(Dialect::OpenAiChat, &[comments.as_bytes()]).is_garbled);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_result(cuts in proptest::collection::vec(0..OPENAI.len().min(ANTHROPIC.len()).min(RESPONSES.len()).min(GEMINI.len()), 0..12), crlf in any::<bool>()) {
        for (dialect, text) in [
            (Dialect::OpenAiChat, OPENAI),
            (Dialect::AnthropicMessages, ANTHROPIC),
            (Dialect::OpenAiResponses, RESPONSES),
            (Dialect::Gemini, GEMINI),
        ] {
            let text = if crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
            let mut cuts = cuts.clone();
            cuts.sort_unstable();
            let mut parts: Vec<&[u8]> = Vec::new();
            let mut at = 0;
            for cut in cuts {
                parts.push(&text.as_bytes()[at..cut]);
                at = cut;
            }
            parts.push(&text.as_bytes()[at..]);
            prop_assert_eq!(skim(dialect, &parts), skim(dialect, &[text.as_bytes()]));
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..10)) {
        let all = parts.concat();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for dialect in [Dialect::OpenAiChat, Dialect::AnthropicMessages, Dialect::OpenAiResponses, Dialect::Gemini] {
            prop_assert_eq!(skim(dialect, &parts), skim(dialect, &[&all]));
            let _ = skim_body(dialect, &all);
        }
    }
}

proptest! {
    #[test]
    fn the_end_of_a_body_says_what_the_whole_says(
        fields in proptest::collection::vec(("usage|stop_reason|content|model|[a-z]{3}", 0..6_u8), 1..8), spaced in any::<bool>(),
    ) {
        // Values that hold the same keys again, nested in objects and arrays.
        let values = [
            serde_json::json!({"input_tokens": 7, "output_tokens": 2}),
            serde_json::json!("tool_use"),
            serde_json::json!([{"a": 1, "usage": {"input_tokens": 0}}]),
            serde_json::json!({"a": 1, "stop_reason": "refusal", "usage": {"input_tokens": 0}}),
            serde_json::json!(null),
            serde_json::json!({"b": [{"x": 0, "stop_reason": "end_turn", "usage": {"input_tokens": 1}}]}),
        ];
        let object: serde_json::Map<String, serde_json::Value> =
            fields.into_iter().map(|(name, value)| (name, values[usize::from(value)].clone())).collect();
        let body = if spaced { serde_json::to_vec_pretty(&object).unwrap() } else { serde_json::to_vec(&object).unwrap() };
        let usage = object.get("usage").map(|usage| serde_json::to_vec(usage).unwrap());
        let expected = usage.and_then(|usage| usage_of(Dialect::AnthropicMessages, &usage));
        let found = skim_body(Dialect::AnthropicMessages, &body);
        prop_assert_eq!((found.usage, found.is_complete), (expected, true));
        let reason = object.get("stop_reason").and_then(|reason| reason.as_str());
        prop_assert_eq!(found.finish, reason.map(anthropic_finish));
    }
}

#[test]
fn what_is_no_answer_has_not_begun() {
    let dialects = [
        Dialect::OpenAiChat,
        Dialect::OpenAiCompletions,
        Dialect::AnthropicMessages,
        Dialect::OpenAiResponses,
        Dialect::Gemini,
    ];
    for dialect in dialects {
        for body in ["null", "{}", "[]", "\"choices\"", "{\"choices\":null,\"content\":null,\"output\":null}", "<html>"]
        {
            assert!(!skim_body(dialect, body.as_bytes()).has_begun, "{dialect:?}: {body}");
        }
        for stream in
            [": waiting\n\n", "data: [DONE]\n\n", "<html>\n\n", "data: {}\n\n", "data: {\"type\":\"surprise\"}\n\n"]
        {
            assert!(!skim(dialect, &[stream.as_bytes()]).has_begun, "{dialect:?}: {stream}");
        }
    }
    let whole = [
        (Dialect::OpenAiChat, r#"{"id":"c","choices" : []}"#),
        (Dialect::AnthropicMessages, r#"{"usage":{"content":1},"content":[]}"#),
        (Dialect::OpenAiResponses, r#"{"output":[]}"#),
        (Dialect::Gemini, r#"{"candidates":[]}"#),
    ];
    for (dialect, body) in whole {
        assert!(skim_body(dialect, body.as_bytes()).has_begun, "{dialect:?}");
    }
}
