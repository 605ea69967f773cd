//! What vendors are sent for a task, and what their answers mean.

use serde_json::json;

use super::*;
use crate::provider::{Base, Provider, find};
use crate::scan::scan;

fn sent(provider: &str, base: &str, task: Operation, model: &str, body: &str) -> Result<Prepared, PrepareError> {
    let provider: &dyn Provider = find(provider).unwrap();
    let base = Base::parse(provider.spec(), base).unwrap();
    let body = Bytes::from(body.to_owned());
    let scan = if multipart::is_form(&body) { multipart::scan(&body).unwrap() } else { scan(&body).unwrap() };
    let headers = HeaderMap::new();
    let call = Call { operation: task, body: &body, scan: &scan, headers: &headers, inlined: None };
    provider.prepare(&call, &Target { base: &base, upstream_model: model, base_model: None, facts: None })
}

fn body_of(prepared: &Prepared) -> Value {
    serde_json::from_slice(prepared.request.body()).unwrap()
}

fn told(prepared: &Prepared, content_type: &'static str, answer: impl Into<Bytes>) -> Told {
    let Relay::Formed(asked) = &prepared.relay else { panic!("{:?}", prepared.relay) };
    asked.read(&HeaderValue::from_static(content_type), &answer.into()).unwrap()
}

fn json_told(prepared: &Prepared, answer: &Value) -> (Value, Skimmed) {
    let told = told(prepared, "application/json", answer.to_string());
    (serde_json::from_slice(&told.body).unwrap(), told.found)
}

const RANKING: Operation = Operation::Task(Task::Rerank);
const DOCUMENTS: &str =
    r#"{"model":"m","query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true,"extra":1}"#;

#[test]
fn ranking_is_said_as_each_vendor_wants_it() {
    let cohere = sent("cohere", "https://c.test", RANKING, "rerank-v4", DOCUMENTS).unwrap();
    assert_eq!(cohere.request.uri(), "https://c.test/v2/rerank");
    assert_eq!(body_of(&cohere), json!({"model": "rerank-v4", "query": "q", "documents": ["a", "b"], "top_n": 1}));
    assert_eq!(cohere.losses.iter().map(|loss| loss.path.to_string()).collect::<Vec<_>>(), ["extra"]);
    let answer = json!({"id": "r1", "results": [{"index": 1, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 2}}});
    let (body, found) = json_told(&cohere, &answer);
    assert_eq!(body["results"], json!([{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}]));
    assert_eq!((body["id"].as_str(), body["model"].as_str()), (Some("r1"), Some("rerank-v4")));
    assert_eq!((found.units.searches, found.usage), (2, None));

    let voyage = sent("voyage", "https://v.test/v1", RANKING, "rerank-2", DOCUMENTS).unwrap();
    assert_eq!(body_of(&voyage)["top_k"], 1);
    let answer =
        json!({"object": "list", "data": [{"index": 0, "relevance_score": 0.5}], "usage": {"total_tokens": 26}});
    let (body, found) = json_told(&voyage, &answer);
    assert_eq!((body["results"][0]["index"].as_u64(), body["usage"]["total_tokens"].as_u64()), (Some(0), Some(26)));
    assert_eq!((found.units.searches, found.usage.unwrap().input), (0, 26));

    let Relay::Formed(asked) = &voyage.relay else { panic!() };
    let strange = Bytes::from_static(br#"{"data":[{"index":7,"relevance_score":1}]}"#);
    assert!(asked.read(&JSON, &strange).is_err(), "a result names a document of the request");
    let empty = sent("jina", "https://j.test/v1", RANKING, "m", r#"{"query":"q","documents":[]}"#).unwrap_err();
    assert!(empty.to_string().starts_with("documents"), "{empty}");
    let unable = sent("anthropic", "https://a.test", RANKING, "m", DOCUMENTS).unwrap_err();
    assert_eq!(unable.to_string(), "Anthropic offers no ranking of documents; choose a model of another provider");
}

const SPEAKING: Operation = Operation::Task(Task::Speech);

#[test]
fn speech_is_counted_by_the_character() {
    let body = r#"{"model":"m","input":"Grüße","voice":"JBFqnCBsd6RMkjVDRZzb","response_format":"pcm","speed":1.5}"#;
    let openai = sent("openai", "https://o.test/v1", SPEAKING, "tts-1", body).unwrap();
    assert_eq!((openai.request.uri().path(), body_of(&openai)["model"].as_str()), ("/v1/audio/speech", Some("tts-1")));
    let sound = told(&openai, "audio/pcm", &b"\x00\x01"[..]);
    assert_eq!((sound.found.units.characters, &sound.body[..]), (5, &b"\x00\x01"[..]));
    assert_eq!(sound.content_type, "audio/pcm");

    let eleven = sent("elevenlabs", "https://e.test", SPEAKING, "eleven_v3", body).unwrap();
    assert_eq!(eleven.request.uri(), "https://e.test/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb?output_format=pcm_24000");
    assert_eq!(body_of(&eleven), json!({"text": "Grüße", "model_id": "eleven_v3", "voice_settings": {"speed": 1.5}}));
    let stray = body.replace("JBFqnCBsd6RMkjVDRZzb", "../../voices");
    assert!(sent("elevenlabs", "https://e.test", SPEAKING, "m", &stray).is_err());

    let deepgram = sent("deepgram", "https://d.test", SPEAKING, "aura-2-thalia-en", body).unwrap();
    let address = "https://d.test/v1/speak?model=aura-2-thalia-en&encoding=linear16&container=none";
    assert_eq!(deepgram.request.uri(), address);
    assert_eq!(body_of(&deepgram), json!({"text": "Grüße"}));
}

fn recording(model: &str, format: &str) -> String {
    // 8,000 samples of one byte pattern: a second of sound, all ASCII so that it fits a string.
    let wave = audio::wave(&[0x2020; 8_000]);
    let wave: String = wave.iter().map(|byte| char::from(*byte & 0x7F)).collect();
    let field =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    format!(
        "{}{}--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n{wave}\r\n--b--\r\n",
        field("model", model),
        field("response_format", format)
    )
}

const HEARING: Operation = Operation::Task(Task::Transcription);

#[test]
fn transcriptions_are_counted_by_the_second() {
    let whisper = sent("openai", "https://o.test/v1", HEARING, "whisper-1", &recording("m", "json")).unwrap();
    let form = multipart::parse(whisper.request.body()).unwrap();
    assert_eq!((form.text("model"), form.text("response_format")), (Some("whisper-1"), Some("json")));
    assert_eq!(whisper.request.headers()[CONTENT_TYPE], "multipart/form-data; boundary=b");
    let (body, found) = json_told(&whisper, &json!({"text": "Hi", "usage": {"type": "duration", "seconds": 2}}));
    assert_eq!((body["text"].as_str(), found.units.audio_ms, found.is_guessed), (Some("Hi"), 2_000, false));
    let usage = json!({"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59});
    let (_, found) = json_told(&whisper, &json!({"text": "Hi", "usage": usage}));
    assert_eq!(found.usage.map(|usage| (usage.input, usage.output)), Some((14, 45)));

    let deepgram = sent("deepgram", "https://d.test", HEARING, "nova-3", &recording("m", "verbose_json")).unwrap();
    assert_eq!(deepgram.request.headers()[CONTENT_TYPE], "audio/wav");
    assert!(deepgram.request.body().starts_with(b"RIFF"));
    let address = "https://d.test/v1/listen?model=nova-3&smart_format=true&detect_language=true";
    assert_eq!(deepgram.request.uri(), address);
    let answer = json!({"metadata": {"duration": 1.25}, "results": {"channels": [{"detected_language": "en",
        "alternatives": [{"transcript": "Hi", "words": [{"word": "hi", "start": 0.1, "end": 0.4}]}]}]}});
    let (body, found) = json_told(&deepgram, &answer);
    assert_eq!(
        (body["text"].as_str(), body["language"].as_str(), found.units.audio_ms),
        (Some("Hi"), Some("en"), 1_250)
    );

    let eleven = sent("elevenlabs", "https://e.test", HEARING, "scribe_v2", &recording("m", "text")).unwrap();
    let form = multipart::parse(eleven.request.body()).unwrap();
    assert_eq!((form.text("model_id"), form.text("model")), (Some("scribe_v2"), None));
    let answer = json!({"text": "Hi", "language_code": "eng", "words": []}).to_string();
    assert_eq!(&told(&eleven, "application/json", answer).body[..], b"Hi\n");
    assert!(sent("deepgram", "https://d.test", HEARING, "m", &recording("m", "srt")).is_err());
}

#[test]
fn who_asks_for_a_transcript_in_events_gets_events() {
    let stream = "--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n";
    let asked = format!("{stream}{}", recording("m", "json"));
    let eleven = json!({"text": "Hi there", "language_code": "eng", "audio_duration_secs": 1.5, "words": []});
    let heard = json!({"alternatives": [{"transcript": "Hi there", "words": []}]});
    let deepgram = json!({"metadata": {"duration": 1.5}, "results": {"channels": [heard]}});
    for (provider, base, answer) in [("elevenlabs", "https://e.test", eleven), ("deepgram", "https://d.test", deepgram)]
    {
        let prepared = sent(provider, base, HEARING, "m", &asked).unwrap();
        assert_eq!(prepared.losses, [], "{provider}");
        let told = told(&prepared, "application/json", answer.to_string());
        assert_eq!((&told.content_type, told.found.units.audio_ms), (&"text/event-stream".parse().unwrap(), 1_500));
        let body = String::from_utf8(told.body.to_vec()).unwrap();
        let events: Vec<Value> = body
            .split_terminator("\n\n")
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect();
        let delta = json!({"type": "transcript.text.delta", "delta": "Hi there"});
        assert_eq!(events, [delta, json!({"type": "transcript.text.done", "text": "Hi there"})], "{provider}");
    }
}

const DRAWING: Operation = Operation::Task(Task::ImageGeneration);

#[test]
fn pictures_are_counted_by_the_piece() {
    let body = r#"{"model":"m","prompt":"a cat","n":2,"size":"1024x1536"}"#;
    let openai = sent("openai", "https://o.test/v1", DRAWING, "gpt-image-1", body).unwrap();
    let usage = json!({"input_tokens": 10, "output_tokens": 4_160, "total_tokens": 4_170});
    let (_, found) = json_told(&openai, &json!({"created": 1, "data": [{"b64_json": ""}, {}], "usage": usage}));
    assert_eq!((found.units.images, found.usage.unwrap().output), (2, 4_160));

    let vertex = "https://v.test/v1/projects/p/locations/l";
    let imagen = sent("vertex", vertex, DRAWING, "imagen-4.0", body).unwrap();
    assert!(
        imagen.request.uri().path().ends_with("/publishers/google/models/imagen-4%2E0:predict")
            || imagen.request.uri().path().ends_with("/imagen-4.0:predict")
    );
    let parameters = json!({"sampleCount": 2, "aspectRatio": "3:4"});
    assert_eq!(body_of(&imagen), json!({"instances": [{"prompt": "a cat"}], "parameters": parameters}));
    let (body, found) =
        json_told(&imagen, &json!({"predictions": [{"bytesBase64Encoded": "AA=="}, {"raiFilteredReason": "x"}]}));
    assert_eq!((body["data"].clone(), found.units.images), (json!([{"b64_json": "AA=="}]), 1));
}

#[test]
fn a_size_becomes_what_the_vendor_knows_instead() {
    let asked = |size: &str| format!(r#"{{"model":"m","prompt":"a cat","size":"{size}"}}"#);
    let xai = |size: &str| body_of(&sent("xai", "https://x.test/v1", DRAWING, "grok", &asked(size)).unwrap());
    for (size, shape) in [
        ("1024x1024", "1:1"),
        ("1536x1024", "3:2"),
        ("1024x1536", "2:3"),
        ("1792x1024", "16:9"),
        ("1024x1792", "9:16"),
        ("640x480", "4:3"),
        ("1x9999", "9:20"),
    ] {
        assert_eq!(xai(size), json!({"model": "grok", "prompt": "a cat", "aspect_ratio": shape}), "{size}");
    }
    assert_eq!(xai("auto"), json!({"model": "grok", "prompt": "a cat"}));
    let own = r#"{"prompt":"a cat","size":"1024x1024","aspect_ratio":"2:1","quality":"standard"}"#;
    let own = body_of(&sent("xai", "https://x.test/v1", DRAWING, "grok", own).unwrap());
    assert_eq!(own, json!({"prompt": "a cat", "aspect_ratio": "2:1", "model": "grok"}), "the vendor's own field wins");
    let together = |size: &str| sent("together", "https://t.test/v1", DRAWING, "flux", &asked(size));
    let expected = json!({"model": "flux", "prompt": "a cat", "width": 1792, "height": 1024});
    assert_eq!(body_of(&together("1792x1024").unwrap()), expected);
    for bad in ["large", "0x1024", "1024x", "99999x1", "1024x1024x1"] {
        let refused = together(bad).unwrap_err();
        assert!(matches!(refused, PrepareError::Invalid { field: "size", .. }), "{bad}: {refused}");
    }
}

#[test]
fn vectors_come_back_as_the_client_wants_them() {
    let numbers = r#"{"model":"m","input":["a","b"],"dimensions":2}"#;
    let two = json!([[0.5, 0.25], [0.125, 0.75]]);
    let values = |key: &str| json!([{key: {"values": [0.5, 0.25]}}, {key: {"values": [0.125, 0.75]}}]);
    let bare = json!([{"values": [0.5, 0.25]}, {"values": [0.125, 0.75]}]);
    for (provider, base, model, answer, tokens) in [
        (
            "cohere",
            "https://c.test",
            "embed-v4.0",
            json!({"embeddings": {"float": two}, "meta": {"billed_units": {"input_tokens": 4}}}),
            Some(4),
        ),
        ("ollama", "http://o.test", "nomic", json!({"embeddings": two, "prompt_eval_count": 4}), Some(4)),
        ("gemini", "https://g.test", "gemini-embedding-001", json!({"embeddings": bare}), None),
        (
            "vertex",
            "https://v.test/v1/projects/p/locations/l",
            "text-embedding-005",
            json!({"predictions": values("embeddings")}),
            None,
        ),
        (
            "bedrock",
            "https://bedrock-runtime.eu-west-1.test",
            "cohere.embed-english-v3",
            json!({"embeddings": two}),
            None,
        ),
    ] {
        let prepared = sent(provider, base, Operation::Embeddings, model, numbers).unwrap();
        let (body, found) = json_told(&prepared, &answer);
        assert_eq!(body["data"][0]["embedding"], json!([0.5, 0.25]), "{provider}");
        assert_eq!((body["data"][1]["index"].as_u64(), body["model"].as_str()), (Some(1), Some(model)), "{provider}");
        assert_eq!(
            (found.usage.unwrap().input, found.is_guessed),
            (tokens.unwrap_or(2), tokens.is_none()),
            "{provider}"
        );
        let base64 = numbers.replace("\"dimensions\":2", "\"encoding_format\":\"base64\"");
        let (body, _) = json_told(&sent(provider, base, Operation::Embeddings, model, &base64).unwrap(), &answer);
        assert_eq!(body["data"][0]["embedding"], "AAAAPwAAgD4=", "{provider}");
    }
    let titan = |body| {
        sent(
            "bedrock",
            "https://bedrock-runtime.eu-west-1.test",
            Operation::Embeddings,
            "amazon.titan-embed-text-v2:0",
            body,
        )
    };
    assert!(titan(numbers).is_err(), "one text a call");
    let one = titan(r#"{"model":"m","input":"a"}"#).unwrap();
    assert_eq!(body_of(&one), json!({"inputText": "a"}));
    assert_eq!(json_told(&one, &json!({"embedding": [1.0], "inputTextTokenCount": 3})).1.usage.unwrap().input, 3);
}

#[test]
fn a_vector_too_few_is_no_answer() {
    let prepared =
        sent("ollama", "http://o.test", Operation::Embeddings, "m", r#"{"model":"m","input":["a","b"]}"#).unwrap();
    let Relay::Formed(asked) = &prepared.relay else { panic!() };
    assert!(asked.read(&JSON, &Bytes::from_static(br#"{"embeddings":[[1.0]]}"#)).is_err());
}
