//! The translation, one event in and what it says of it out; Gemini's messages are as its reference and its SDK's types have them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Live, Options, Out};

/// A session and what it has said.
struct Talk {
    live: Live,
}

impl Talk {
    fn new(is_beta: bool) -> Self {
        let options = Options { model: "gemini-3.8-live".to_owned(), name: "s".to_owned(), is_beta };
        let mut talk = Self { live: Live::new(options) };
        let (events, _) = talk.said();
        assert_eq!(kinds(&events), ["session.created"]);
        talk
    }

    /// A session whose settings Gemini has agreed on.
    fn ready(update: &Value) -> Self {
        let mut talk = Self::new(false);
        if !update.is_null() {
            talk.live.client_said(&json!({"type": "session.update", "session": update}).to_string());
        }
        let (_, sent) = talk.client(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
        assert!(sent[0]["setup"].is_object(), "{sent:?}");
        talk.gemini(&json!({"setupComplete": {}}));
        talk
    }

    fn said(&mut self) -> (Vec<Value>, Vec<Value>) {
        let (mut events, mut sent) = (Vec::new(), Vec::new());
        while let Some(out) = self.live.take() {
            match out {
                Out::Client(event) => events.push(event),
                Out::Gemini(message) => sent.push(message),
            }
        }
        (events, sent)
    }

    fn client(&mut self, event: &Value) -> (Vec<Value>, Vec<Value>) {
        self.live.client_said(&event.to_string());
        self.said()
    }

    fn gemini(&mut self, message: &Value) -> (Vec<Value>, Vec<Value>) {
        self.live.gemini_said(message.to_string().as_bytes());
        self.said()
    }

    fn ask(&mut self) -> Vec<Value> {
        self.client(&json!({"type": "response.create"})).1
    }

    /// Says something and is refused.
    fn refused(&mut self, event: &Value) -> Value {
        let (events, sent) = self.client(event);
        assert_eq!((kinds(&events), sent), (vec!["error"], Vec::new()), "{event}");
        events[0]["error"].clone()
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

fn text_item(text: &str) -> Value {
    json!({"type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}})
}

fn sound(data: &str) -> Value {
    json!({"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}]}}})
}

fn transcript(text: &str) -> Value {
    json!({"serverContent": {"outputTranscription": {"text": text}}})
}

fn end() -> Value {
    json!({"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": 100, "responseTokenCount": 20,
        "totalTokenCount": 120, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}, {"modality": "TEXT", "tokenCount": 40}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}]}})
}

#[test]
fn settings_are_the_first_message_and_all_else_waits_for_them() {
    let mut talk = Talk::new(false);
    let update = json!({"type": "session.update", "session": {"type": "realtime", "instructions": "Be kind.",
        "output_modalities": ["audio"], "max_output_tokens": 200, "temperature": 0.7, "tool_choice": "auto",
        "tools": [{"type": "function", "name": "look", "description": "Looks", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}],
        "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}, "transcription": {"model": "whisper-1"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 300, "prefix_padding_ms": 20, "threshold": 0.5}},
            "output": {"voice": "Kore", "speed": 1.2}}}});
    let (events, sent) = talk.client(&update);
    assert_eq!((kinds(&events), sent.len()), (vec!["session.updated"], 0), "nothing is sent that may yet change");
    let session = &events[0]["session"];
    assert_eq!(session["audio"]["output"]["voice"], "Kore");
    assert_eq!(session["audio"]["input"]["transcription"], json!({"model": "gemini-3.8-live"}), "as it will be");
    let dropped = json!([
        "session.audio.input.transcription.model",
        "session.audio.output.speed",
        "session.audio.input.turn_detection.threshold"
    ]);
    assert_eq!(events[0]["headgate"]["dropped"], dropped);
    let (_, sent) = talk.client(&text_item("Hello"));
    assert!(sent.is_empty() && talk.live.is_listening());
    assert_eq!(
        talk.ask(),
        [json!({"setup": {"model": "models/gemini-3.8-live",
            "generationConfig": {"responseModalities": ["AUDIO"], "temperature": 0.7, "maxOutputTokens": 200,
                "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}},
            "outputAudioTranscription": {},
            "realtimeInputConfig": {"automaticActivityDetection": {"prefixPaddingMs": 20, "silenceDurationMs": 300}},
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "tools": [{"functionDeclarations": [{"name": "look", "behavior": "BLOCKING", "description": "Looks",
                "parametersJsonSchema": {"type": "object", "properties": {"at": {"type": "string"}}}}]}],
            "inputAudioTranscription": {}}})]
    );
    assert!(!talk.live.is_listening());
    let (_, sent) = talk.gemini(&json!({"setupComplete": {}}));
    let turns = json!([{"role": "user", "parts": [{"text": "Hello"}]}]);
    assert_eq!(sent, [json!({"clientContent": {"turnComplete": true, "turns": turns}})]);
    assert!(talk.live.is_listening());

    let error =
        talk.refused(&json!({"type": "session.update", "event_id": "e7", "session": {"instructions": "Be short."}}));
    assert_eq!((&error["code"], &error["event_id"]), (&json!("session_settings_fixed"), &json!("e7")));
    let same =
        json!({"type": "session.update", "session": {"instructions": "Be kind.", "output_modalities": ["text"]}});
    assert_eq!(kinds(&talk.client(&same).0), ["session.updated"], "what is no setting of Gemini's may change");
}

#[test]
fn what_a_client_could_rely_on_is_refused_and_changes_nothing() {
    let mut talk = Talk::new(false);
    for (session, param) in [
        (json!({"type": "transcription"}), "session.type"),
        (json!({"prompt": {"id": "pmpt_1"}}), "session.prompt"),
        (json!({"output_modalities": ["video"]}), "session.output_modalities"),
        (json!({"tools": [{"type": "mcp", "server_label": "x"}]}), "session.tools"),
        (json!({"tool_choice": "required"}), "session.tool_choice"),
        (json!({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}), "session.audio.input.format"),
        (json!({"output_audio_format": "g711_ulaw"}), "session.output_audio_format"),
        (json!({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}}}), "session.audio.output.format"),
        (
            json!({"turn_detection": {"type": "server_vad", "create_response": false}}),
            "session.turn_detection.create_response",
        ),
    ] {
        let before = talk.live.view();
        let error = talk.refused(&json!({"type": "session.update", "session": session}));
        assert_eq!(error["param"], param, "{error}");
        assert_eq!(talk.live.view(), before);
    }
    for (event, code) in [
        (json!({"type": "conversation.item.truncate", "item_id": "x"}), "unknown_event"),
        (json!({"type": "input_audio_buffer.append", "audio": "%"}), "invalid_value"),
        (json!({"type": "input_audio_buffer.commit"}), "input_audio_buffer_commit_empty"),
        (json!({"type": "conversation.item.create", "item": {"type": "message", "content": []}}), "invalid_value"),
        (json!({"type": "conversation.item.create", "item": {"type": "mcp_call"}}), "unsupported_by_upstream"),
        (
            json!({"type": "conversation.item.create", "previous_item_id": "root", "item": {}}),
            "unsupported_by_upstream",
        ),
        (
            json!({"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "x"}}),
            "invalid_value",
        ),
        (json!({"type": "response.create", "response": {"instructions": "Say hi"}}), "unsupported_by_upstream"),
        (json!({"type": "response.cancel"}), "response_cancel_not_active"),
    ] {
        assert_eq!(talk.refused(&event)["code"], code, "{event}");
    }
}

#[test]
fn a_spoken_answer_is_told_in_the_vendors_order() {
    let mut talk = Talk::ready(&Value::Null);
    talk.client(&text_item("Hello"));
    let sent = talk.ask();
    assert_eq!(sent[0]["clientContent"]["turnComplete"], true);
    let mut events = talk.gemini(&transcript("Good ")).0;
    assert!(events.is_empty(), "it comes ahead of its sound: {events:?}");
    for message in [sound("AQID"), sound("BAUG"), transcript("day.")] {
        events.extend(talk.gemini(&message).0);
    }
    events.extend(talk.gemini(&json!({"serverContent": {"generationComplete": true}})).0);
    events.extend(talk.gemini(&end()).0);
    assert_eq!(
        kinds(&events),
        [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.delta",
            "response.output_audio_transcript.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
    );
    assert_eq!((&events[8]["delta"], &events[12]["transcript"]), (&json!("AQID"), &json!("Good day.")));
    let done = &events[16]["response"];
    assert_eq!((&done["status"], &done["output_modalities"]), (&json!("completed"), &json!(["audio"])));
    assert_eq!(done["output"][0]["content"], json!([{"type": "output_audio", "transcript": "Good day."}]));
    assert_eq!(
        done["usage"],
        json!({"total_tokens": 120, "input_tokens": 100, "output_tokens": 20,
            "input_token_details": {"text_tokens": 40, "audio_tokens": 60, "image_tokens": 0, "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}},
            "output_token_details": {"text_tokens": 0, "audio_tokens": 20}})
    );
    let ids: std::collections::HashSet<&str> = events.iter().filter_map(|event| event["event_id"].as_str()).collect();
    assert_eq!(ids.len(), events.len(), "each event has an id of its own");
}

#[test]
fn one_message_may_say_everything_at_once() {
    let mut talk = Talk::ready(&json!({"output_modalities": ["text"]}));
    talk.ask();
    let (events, _) = talk.gemini(&json!({"serverContent": {
        "modelTurn": {"parts": [{"text": "thinking", "thought": true}, {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AQID"}}]},
        "outputTranscription": {"text": "Hi."}, "generationComplete": true, "turnComplete": true},
        "usageMetadata": {"promptTokenCount": 522, "responseTokenCount": 42, "totalTokenCount": 564, "thoughtsTokenCount": 136,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 332}, {"modality": "AUDIO", "tokenCount": 165}, {"modality": "VIDEO", "tokenCount": 5}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 42}]}}));
    let kinds = kinds(&events);
    assert!(!kinds.contains(&"response.output_audio.delta"), "what is to be read is not spoken: {kinds:?}");
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["output"][0]["content"], json!([{"type": "output_text", "text": "Hi."}]));
    // What it thinks is billed as what it says, and in this form not a part of it.
    assert_eq!(
        (&done["usage"]["output_tokens"], &done["usage"]["input_token_details"]["image_tokens"]),
        (&json!(178), &json!(5))
    );
}

#[test]
fn a_tools_call_keeps_its_id_and_its_result_is_sent_when_an_answer_is_asked_for() {
    let mut talk = Talk::ready(&Value::Null);
    talk.ask();
    let calls = json!([{"id": "call-a", "name": "look", "args": {"at": "it"}}, {"name": "wait", "args": {}}]);
    let (events, _) = talk.gemini(&json!({"toolCall": {"functionCalls": calls}}));
    let done = events.iter().find(|event| event["type"] == "response.function_call_arguments.done").unwrap();
    assert_eq!(
        (&done["call_id"], &done["name"], &done["arguments"]),
        (&json!("call-a"), &json!("look"), &json!(r#"{"at":"it"}"#))
    );
    let response = &events.last().unwrap()["response"];
    assert_eq!((&response["status"], &response["usage"]), (&json!("completed"), &Value::Null), "it is not known yet");
    let ours = response["output"][1]["call_id"].as_str().unwrap().to_owned();
    for (call, output) in [("call-a", r#"{"seen":1}"#), (ours.as_str(), "plain")] {
        let item = json!({"type": "function_call_output", "call_id": call, "output": output});
        let (events, sent) = talk.client(&json!({"type": "conversation.item.create", "item": item}));
        assert_eq!((kinds(&events), sent.len()), (vec!["conversation.item.added", "conversation.item.done"], 0));
    }
    let responses = json!([{"name": "look", "response": {"seen": 1}, "id": "call-a"}, {"name": "wait", "response": {"output": "plain"}}]);
    assert_eq!(talk.ask(), [json!({"toolResponse": {"functionResponses": responses}})]);
    talk.gemini(&sound("AQID"));
    let (events, _) = talk.gemini(&end());
    assert_eq!(events.last().unwrap()["response"]["usage"]["total_tokens"], 120);

    talk.ask();
    talk.gemini(&json!({"toolCall": {"functionCalls": [{"id": "call-b", "name": "look"}]}}));
    talk.gemini(&json!({"toolCallCancellation": {"ids": ["call-b"]}}));
    let item = json!({"type": "function_call_output", "call_id": "call-b", "output": "{}"});
    let error = talk.refused(&json!({"type": "conversation.item.create", "item": item}));
    assert_eq!(error["code"], "call_cancelled");
}

#[test]
fn a_conversation_held_before_is_told_in_geminis_form() {
    let mut talk = Talk::ready(&Value::Null);
    for item in [
        json!({"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Rules"}]}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hm"}]}),
        json!({"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"at\":1}"}),
        json!({"type": "function_call_output", "call_id": "c1", "output": "there"}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBO"}]}),
    ] {
        let (_, sent) = talk.client(&json!({"type": "conversation.item.create", "item": item}));
        assert!(sent.is_empty(), "any message would cut what is being said");
    }
    let sent = talk.ask();
    assert_eq!(
        sent,
        [json!({"clientContent": {"turnComplete": true, "turns": [
            {"role": "user", "parts": [{"text": "Rules"}]},
            {"role": "model", "parts": [{"text": "Hm"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "look", "args": {"at": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"output": "there"}, "id": "c1"}}]},
            {"role": "user", "parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAA"}},
                {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}]}]}})]
    );
}

#[test]
fn the_user_who_breaks_in_cuts_the_answer_and_it_is_paid_for() {
    let mut talk = Talk::ready(&json!({"audio": {"input": {"transcription": {}}}}));
    talk.gemini(&json!({"serverContent": {"inputTranscription": {"text": "Tell me."}}}));
    let (events, _) = talk.gemini(&sound("AQID"));
    let item = events[0]["item_id"].clone();
    assert_eq!(&kinds(&events)[..3], ["input_audio_buffer.committed", "conversation.item.done", "response.created"]);
    talk.client(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
    let (events, _) = talk.gemini(&json!({"serverContent": {"interrupted": true}}));
    assert_eq!(kinds(&events)[0], "conversation.item.input_audio_transcription.completed");
    assert_eq!(
        (&events[0]["item_id"], &events[0]["transcript"], &events[0]["usage"]["total_tokens"]),
        (&item, &json!("Tell me."), &json!(0))
    );
    assert_eq!(kinds(&events)[1], "input_audio_buffer.speech_started");
    assert_ne!(events[1]["item_id"], item);
    assert_eq!(talk.gemini(&transcript("late")).0, Vec::<Value>::new());
    let (events, _) = talk.gemini(&end());
    let done = &events.last().unwrap()["response"];
    assert_eq!((&done["status"], &done["status_details"]["reason"]), (&json!("cancelled"), &json!("turn_detected")));
    assert_eq!((&done["output"][0]["status"], &done["usage"]["total_tokens"]), (&json!("incomplete"), &json!(120)));
    let (events, _) = talk.gemini(&sound("AQID"));
    assert!(
        kinds(&events).contains(&"response.created") && kinds(&events).contains(&"input_audio_buffer.speech_stopped")
    );
}

#[test]
fn a_client_that_cancels_sees_nothing_more_of_the_answer() {
    let mut talk = Talk::ready(&Value::Null);
    talk.ask();
    let (events, _) = talk.gemini(&sound("AQID"));
    let id = events.iter().find(|event| event["type"] == "response.created").unwrap()["response"]["id"].clone();
    assert_eq!(talk.refused(&json!({"type": "response.create"}))["code"], "conversation_already_has_active_response");
    assert_eq!(
        talk.refused(&json!({"type": "response.cancel", "response_id": "other"}))["code"],
        "response_cancel_not_active"
    );
    let (_, sent) = talk.client(&json!({"type": "response.cancel", "response_id": id}));
    assert_eq!(sent, [json!({"clientContent": {"turns": [], "turnComplete": false}})]);
    assert!(talk.live.is_ending());
    assert_eq!(talk.gemini(&sound("BAUG")).0, Vec::<Value>::new());
    talk.gemini(&json!({"serverContent": {"interrupted": true}}));
    let (events, _) = talk.gemini(&end());
    let done = &events[0]["response"];
    assert_eq!(
        (&done["status_details"]["reason"], &done["usage"]["total_tokens"]),
        (&json!("client_cancelled"), &json!(120))
    );

    // Gemini does not obey: the end is told all the same, and what it used with the next.
    talk.ask();
    talk.gemini(&sound("AQID"));
    talk.client(&json!({"type": "response.cancel"}));
    talk.live.give_up();
    let (events, _) = talk.said();
    assert_eq!((kinds(&events), &events[0]["response"]["usage"]), (vec!["response.done"], &Value::Null));
    assert_eq!(talk.gemini(&sound("BAUG")).0, Vec::<Value>::new());
    assert_eq!(talk.gemini(&end()).0, Vec::<Value>::new());
    talk.ask();
    talk.gemini(&sound("AQID"));
    let (events, _) = talk.gemini(&end());
    assert_eq!(events.last().unwrap()["response"]["usage"]["total_tokens"], 240);
}

#[test]
fn without_detection_the_client_says_where_a_turn_ends() {
    let mut talk = Talk::new(false);
    let update = json!({"audio": {"input": {"turn_detection": null}}});
    talk.client(&json!({"type": "session.update", "session": update}));
    let (_, sent) = talk.client(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
    assert_eq!(sent[0]["setup"]["realtimeInputConfig"], json!({"automaticActivityDetection": {"disabled": true}}));
    let (_, sent) = talk.gemini(&json!({"setupComplete": {}}));
    let audio = json!({"realtimeInput": {"audio": {"data": "AAAA", "mimeType": "audio/pcm;rate=24000"}}});
    assert_eq!(sent, [json!({"realtimeInput": {"activityStart": {}}}), audio.clone()]);
    assert_eq!(talk.client(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).1, [audio]);
    assert_eq!(talk.refused(&json!({"type": "input_audio_buffer.clear"}))["code"], "unsupported_by_upstream");
    let (events, sent) = talk.client(&json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(kinds(&events), ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]);
    assert!(sent.is_empty(), "Gemini answers at the end of what is said, and nobody has asked yet");
    assert_eq!(kinds(&talk.client(&json!({"type": "input_audio_buffer.clear"})).0), ["input_audio_buffer.cleared"]);
    assert_eq!(talk.ask(), [json!({"realtimeInput": {"activityEnd": {}}})]);
    let (events, _) = talk.gemini(&sound("AQID"));
    assert_eq!(kinds(&events)[0], "response.created");
    let (_, sent) = talk.client(&json!({"type": "response.cancel"}));
    assert_eq!(sent, [json!({"realtimeInput": {"activityStart": {}}})]);
}

#[test]
fn with_detection_a_commit_ends_the_sound_and_gemini_answers_by_itself() {
    let mut talk = Talk::ready(&Value::Null);
    let (events, sent) = talk.client(&json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(sent, [json!({"realtimeInput": {"audioStreamEnd": true}})]);
    assert_eq!(kinds(&events)[0], "input_audio_buffer.committed");
    assert!(talk.ask().is_empty());
    let (events, _) = talk.gemini(&sound("AQID"));
    assert_eq!(kinds(&events)[0], "response.created", "its item is made");
    // A written item goes ahead of the sound that is to be answered with it.
    talk.gemini(&end());
    talk.client(&text_item("By the way"));
    let (_, sent) = talk.client(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
    assert_eq!((&sent[0]["clientContent"]["turnComplete"], sent.len()), (&json!(false), 2));
}

#[test]
fn a_turn_without_a_word_is_told_when_it_was_asked_for_or_cost_something() {
    let mut talk = Talk::ready(&Value::Null);
    assert!(talk.gemini(&json!({"serverContent": {"turnComplete": true}})).0.is_empty());
    let (events, _) = talk.gemini(&end());
    assert_eq!(events.last().unwrap()["response"]["usage"]["total_tokens"], 120, "it heard, and chose to say nothing");
    talk.ask();
    let (events, _) = talk
        .gemini(&json!({"serverContent": {"turnComplete": true, "turnCompleteReason": "PROHIBITED_INPUT_CONTENT"}}));
    let done = &events.last().unwrap()["response"];
    assert_eq!((&done["status"], &done["status_details"]["reason"]), (&json!("incomplete"), &json!("content_filter")));
}

#[test]
fn the_next_may_be_asked_for_while_the_last_is_still_being_heard() {
    let mut talk = Talk::ready(&Value::Null);
    talk.ask();
    talk.gemini(&sound("AQID"));
    talk.gemini(&json!({"serverContent": {"generationComplete": true}}));
    assert_eq!(talk.ask(), [json!({"clientContent": {"turns": [], "turnComplete": true}})]);
    let (events, _) = talk.gemini(&json!({"serverContent": {"interrupted": true}}));
    assert!(events.is_empty(), "nobody broke in, and all was said: {events:?}");
    let (events, _) = talk.gemini(&end());
    assert_eq!(events.last().unwrap()["response"]["status"], "completed");
    assert!(kinds(&talk.gemini(&sound("AQID")).0).contains(&"response.created"));
}

#[test]
fn the_events_before_general_availability_have_their_names() {
    let mut talk = Talk::new(true);
    talk.client(&json!({"type": "session.update", "session": {"modalities": ["text", "audio"], "voice": "alloy",
        "input_audio_format": "pcm16", "turn_detection": {"type": "semantic_vad", "eagerness": "low", "interrupt_response": false}}}));
    let sent = talk.ask();
    assert_eq!(
        sent[0]["setup"]["realtimeInputConfig"],
        json!({"automaticActivityDetection":
        {"endOfSpeechSensitivity": "END_SENSITIVITY_LOW"}, "activityHandling": "NO_INTERRUPTION"})
    );
    assert!(sent[0]["setup"]["generationConfig"]["speechConfig"].is_null(), "Gemini has no such voice");
    talk.gemini(&json!({"setupComplete": {}}));
    let mut events = talk.gemini(&sound("AQID")).0;
    events.extend(talk.gemini(&transcript("Hi")).0);
    events.extend(talk.gemini(&end()).0);
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.output_item.added",
            "conversation.item.created",
            "response.content_part.added",
            "response.audio.delta",
            "response.audio_transcript.delta",
            "response.audio.done",
            "response.audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    assert_eq!(events[3]["part"]["type"], "audio");
}

#[test]
fn a_complaint_in_the_session_is_passed_on_and_nothing_is_waited_for_any_more() {
    let mut talk = Talk::ready(&Value::Null);
    talk.ask();
    let (events, _) = talk.gemini(&json!({"error": {"code": 5, "message": "No such thing", "status": "NOT_FOUND"}}));
    assert_eq!(
        (&events[0]["error"]["message"], &events[0]["error"]["type"]),
        (&json!("No such thing"), &json!("invalid_request_error"))
    );
    assert!(talk.gemini(&json!({"serverContent": {"turnComplete": true}})).0.is_empty());
}

#[test]
fn an_end_is_told_as_what_it_is() {
    let mut talk = Talk::new(false);
    talk.ask();
    talk.live.closed("models/x is not found for API version v1beta");
    let (events, _) = talk.said();
    assert_eq!((&events[0]["error"]["code"], kinds(&events).len()), (&json!("session_refused"), 1));
    assert!(events[0]["error"]["message"].as_str().unwrap().contains("is not found"));

    let mut talk = Talk::ready(&Value::Null);
    talk.ask();
    talk.gemini(&sound("AQID"));
    talk.gemini(&json!({"goAway": {"timeLeft": "10s"}, "usageMetadata": {"promptTokenCount": 7}}));
    talk.live.closed("");
    let (events, _) = talk.said();
    let done = &events[events.len() - 2]["response"];
    assert_eq!(
        (&done["status"], &done["usage"]["input_tokens"]),
        (&json!("failed"), &json!(7)),
        "what is known is booked"
    );
    assert_eq!(events.last().unwrap()["error"]["code"], "session_expired");
}

/// One step of a session, of either side.
fn step() -> impl Strategy<Value = (bool, Value)> {
    let client = prop_oneof![
        Just(json!({"type": "response.create"})),
        Just(json!({"type": "response.cancel"})),
        Just(json!({"type": "input_audio_buffer.append", "audio": "AAAA"})),
        Just(json!({"type": "input_audio_buffer.commit"})),
        Just(json!({"type": "input_audio_buffer.clear"})),
        Just(text_item("x")),
        Just(
            json!({"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "1"}})
        ),
        Just(json!({"type": "session.update", "session": {"audio": {"input": {"turn_detection": null}}}})),
        "\\PC{0,20}".prop_map(|text| json!({"type": text, "session": text, "item": text, "response": text})),
    ];
    let gemini = prop_oneof![
        Just(json!({"setupComplete": {}})),
        Just(sound("AQID")),
        Just(transcript("a")),
        Just(json!({"serverContent": {"inputTranscription": {"text": "u", "finished": true}}})),
        Just(json!({"serverContent": {"interrupted": true}})),
        Just(json!({"serverContent": {"generationComplete": true}})),
        Just(json!({"serverContent": {"turnComplete": true}})),
        Just(end()),
        Just(json!({"toolCall": {"functionCalls": [{"id": "c", "name": "f"}]}})),
        Just(json!({"toolCallCancellation": {"ids": ["c"]}})),
        Just(json!({"voiceActivity": {"voiceActivityType": "ACTIVITY_START"}})),
        Just(json!({"usageMetadata": {"promptTokenCount": 1}})),
        Just(json!({"goAway": {}})),
    ];
    prop_oneof![client.prop_map(|it| (true, it)), gemini.prop_map(|it| (false, it))]
}

proptest! {
    /// Whatever either side says, in whatever order: responses do not overlap, each ends, and all that was used is told once.
    #[test]
    fn any_order_ends_what_it_begins_and_tells_all_that_was_used(steps in proptest::collection::vec(step(), 0..60)) {
        let mut talk = Talk::ready(&Value::Null);
        let (mut open, mut told, mut used) = (None, 0, 0);
        let mut watch = |events: Vec<Value>| {
            for event in events {
                match event["type"].as_str().unwrap_or_default() {
                    "response.created" => assert!(open.replace(event["response"]["id"].clone()).is_none()),
                    "response.done" => {
                        assert_eq!(open.take(), Some(event["response"]["id"].clone()));
                        told += event["response"]["usage"]["total_tokens"].as_u64().unwrap_or(0);
                    }
                    kind if kind.starts_with("response.") => assert_eq!(open.as_ref(), Some(&event["response_id"]), "{kind}"),
                    _ => {}
                }
            }
        };
        for (is_client, said) in steps {
            used += match said["usageMetadata"]["promptTokenCount"].as_u64() { Some(100) => 120, other => other.unwrap_or(0) };
            watch(if is_client { talk.client(&said) } else { talk.gemini(&said) }.0);
        }
        watch(talk.gemini(&json!({"serverContent": {"interrupted": true}})).0);
        watch(talk.gemini(&json!({"serverContent": {"turnComplete": true}})).0);
        // What came after the calls of a turn goes with the answer to their results.
        talk.ask();
        watch(talk.gemini(&sound("AQID")).0);
        watch(talk.gemini(&end()).0);
        used += 120;
        prop_assert_eq!((told, open), (used, None));
    }

    #[test]
    fn nothing_that_is_said_does_harm(text in "\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut talk = Talk::ready(&Value::Null);
        talk.live.client_said(&text);
        talk.live.gemini_said(&bytes);
        talk.live.gemini_said(format!(r#"{{"serverContent":{text},"usageMetadata":{text},"toolCall":{text}}}"#).as_bytes());
        talk.said();
    }
}
