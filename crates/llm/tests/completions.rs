//! What only OpenAI's legacy completions have: prompts that are no conversation.

use llm::dialect::{Dialect, RequestOptions, Speak as _};

#[test]
fn an_upstream_of_texts_takes_no_conversation() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let request = Dialect::OpenAiChat.decode_request(body).unwrap();
    let error = Dialect::OpenAiCompletions.encode_request(&request, &RequestOptions::STANDARD).unwrap_err();
    assert!(error.to_string().contains("choose a model that chats"), "{error}");
}

#[test]
fn one_text_in_a_list_is_one_text_and_everything_else_is_kept_whole() {
    for (prompt, sent) in
        [(r#"["a"]"#, r#""a""#), (r#"["a","b"]"#, r#"["a","b"]"#), ("[[1,2]]", "[[1,2]]"), ("[]", "[]")]
    {
        let body = format!(r#"{{"model":"m","prompt":{prompt}}}"#);
        let request = Dialect::OpenAiCompletions.decode_request(body.as_bytes()).unwrap();
        let again = Dialect::OpenAiCompletions.encode_request(&request, &RequestOptions::STANDARD).unwrap();
        assert_eq!(std::str::from_utf8(&again.body).unwrap(), format!(r#"{{"model":"m","prompt":{sent}}}"#));
    }
    assert!(Dialect::OpenAiCompletions.decode_request(br#"{"model":"m","prompt":7}"#).is_err());
}
