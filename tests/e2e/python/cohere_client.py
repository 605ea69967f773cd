"""The unchanged Cohere SDK through the pass-through of Cohere's own API: what it says and hears is the vendor's, byte for byte."""

import json

import cohere
from cohere.core import ApiError
from cohere.errors import BadRequestError, UnauthorizedError
from story import (
    GREETING,
    PERSON_SCHEMA,
    PROMPTS,
    RED_PIXEL,
    WEATHER_SCHEMA,
    expect,
    interrupted,
    rejected,
    run,
    two_calls,
)

CHAT = "command-a-03-2025"


def connect(base_url, api_key):
    return cohere.ClientV2(base_url=f"{base_url}/passthrough/cohere", api_key=api_key, timeout=20)


def user(content):
    return [{"role": "user", "content": content}]


def ask(base_url, api_key, prompt, **more):
    return connect(base_url, api_key).chat(
        model=CHAT, messages=user(prompt), request_options={"max_retries": 0}, **more
    )


def chat(base_url, api_key, _model):
    messages = [{"role": "system", "content": "Be kind."}, *user(PROMPTS["chat"])]
    answer = connect(base_url, api_key).chat(model=CHAT, messages=messages, max_tokens=50)
    expect(answer.message.content[0].text, GREETING)
    expect(answer.finish_reason, "COMPLETE")
    expect((answer.usage.tokens.input_tokens, answer.usage.tokens.output_tokens), (12, 5))


def stream(base_url, api_key, _model):
    text, end, n_pieces = "", None, 0
    for event in connect(base_url, api_key).chat_stream(model=CHAT, messages=user(PROMPTS["stream"])):
        if event.type == "content-delta":
            text += event.delta.message.content.text
            n_pieces += 1
        if event.type == "message-end":
            end = event.delta
    expect(text, GREETING)
    expect((end.finish_reason, end.usage.tokens.output_tokens), ("COMPLETE", 5))
    assert n_pieces > 1, "the stream was folded"


def tools(base_url, api_key, _model):
    function = {"name": "get_weather", "description": "Weather of a city.", "parameters": WEATHER_SCHEMA}
    offered = [{"type": "function", "function": function}]
    first = ask(base_url, api_key, PROMPTS["tools"], tools=offered)
    expect(first.finish_reason, "TOOL_CALL")
    [call] = first.message.tool_calls
    expect((call.function.name, json.loads(call.function.arguments)), ("get_weather", {"city": "Paris"}))
    said = [
        *user(PROMPTS["tools"]),
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = connect(base_url, api_key).chat(model=CHAT, messages=said, tools=offered)
    expect(second.message.content[0].text, "It is sunny in Paris.")


def tools_stream(base_url, api_key, _model):
    function = {"name": "get_weather", "description": "Weather of a city.", "parameters": WEATHER_SCHEMA}
    offered = [{"type": "function", "function": function}]
    calls, end = [], None
    for event in connect(base_url, api_key).chat_stream(
        model=CHAT, messages=user(PROMPTS["tools_stream"]), tools=offered
    ):
        if event.type == "tool-call-start":
            calls.append(event.delta.message.tool_calls)
        if event.type == "tool-call-delta":
            calls[event.index].function.arguments += event.delta.message.tool_calls.function.arguments
        if event.type == "message-end":
            end = event.delta
    expect(end.finish_reason, "TOOL_CALL")
    two_calls([(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls])


def schema(base_url, api_key, _model):
    form = {"type": "json_object", "schema": PERSON_SCHEMA}
    answer = ask(base_url, api_key, PROMPTS["schema"], response_format=form)
    expect(json.loads(answer.message.content[0].text), {"name": "Ada", "age": 36})


def image(base_url, api_key, _model):
    parts = [
        {"type": "text", "text": PROMPTS["image"]},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED_PIXEL}"}},
    ]
    expect(ask(base_url, api_key, parts).message.content[0].text, "A single red pixel.")


def error(base_url, api_key, _model):
    refused = rejected(BadRequestError, lambda: ask(base_url, api_key, PROMPTS["refused"]))
    assert "malformed" in str(refused.body), refused.body
    # A vendor's own API answers in the vendor's own words, its failures too.
    expect(rejected(ApiError, lambda: ask(base_url, api_key, PROMPTS["broken"])).status_code, 500)
    rejected(UnauthorizedError, lambda: ask(base_url, "not-a-key", PROMPTS["chat"]))


def cut(base_url, api_key, _model):
    interrupted(lambda: connect(base_url, api_key).chat_stream(model=CHAT, messages=user(PROMPTS["cut"])))


def disconnect(base_url, api_key, _model):
    text = ""
    events = connect(base_url, api_key).chat_stream(model=CHAT, messages=user(PROMPTS["disconnect"]))
    for event in events:
        text += event.delta.message.content.text if event.type == "content-delta" else ""
        if len(text) > 30:
            break
    events.close()
    assert text.startswith("Sentence number 0"), text


def embeddings(base_url, api_key, _model):
    answer = connect(base_url, api_key).embed(
        model="embed-v4.0", input_type="search_document", embedding_types=["float"], texts=["one", "two"]
    )
    expect([len(vector) for vector in answer.embeddings.float_], [3, 3])


def rerank(base_url, api_key, _model):
    answer = connect(base_url, api_key).rerank(
        model="rerank-v4.0", query="What is warm?", documents=["snow", "the sun"], top_n=2
    )
    expect([result.index for result in answer.results], [1, 0])


run([chat, stream, tools, tools_stream, schema, image, error, cut, disconnect, embeddings, rerank])
