"""Mistral's unchanged SDK for Python against Headgate: its chat has OpenAI's address and nearly OpenAI's form."""

import json

from mistralai.client import Mistral, errors
from story import (
    GREETING,
    PERSON_SCHEMA,
    PROMPTS,
    RED_PIXEL,
    SUNNY,
    WEATHER,
    WEATHER_SCHEMA,
    expect,
    interrupted,
    rejected,
    run,
    two_calls,
)


def connect(base_url, api_key):
    return Mistral(api_key=api_key, server_url=base_url, timeout_ms=20_000)


def user(content):
    return [{"role": "user", "content": content}]


def chat(base_url, api_key, model):
    messages = [{"role": "system", "content": "Be kind."}, *user(PROMPTS["chat"])]
    answer = connect(base_url, api_key).chat.complete(model=model, messages=messages, max_tokens=50)
    expect(answer.choices[0].message.content, GREETING)
    expect(answer.choices[0].finish_reason, "stop")
    expect((answer.usage.prompt_tokens, answer.usage.completion_tokens), (12, 5))


def stream(base_url, api_key, model):
    text, n_chunks = "", 0
    for event in connect(base_url, api_key).chat.stream(model=model, messages=user(PROMPTS["stream"]), max_tokens=50):
        n_chunks += 1
        for choice in event.data.choices:
            text += choice.delta.content or ""
    expect(text, GREETING)
    assert n_chunks > 2, f"only {n_chunks} chunks: the stream was folded"


def tools(base_url, api_key, model):
    client = connect(base_url, api_key)
    function = {"name": "get_weather", "description": "Weather of a city.", "parameters": WEATHER_SCHEMA}
    offered = [{"type": "function", "function": function}]
    messages = user(PROMPTS["tools"])
    first = client.chat.complete(model=model, messages=messages, tools=offered)
    expect(first.choices[0].finish_reason, "tool_calls")
    call = first.choices[0].message.tool_calls[0]
    expect((call.function.name, json.loads(call.function.arguments)), ("get_weather", {"city": "Paris"}))
    result = {"role": "tool", "name": "get_weather", "tool_call_id": call.id, "content": "sunny"}
    second = client.chat.complete(model=model, messages=[*messages, first.choices[0].message, result], tools=offered)
    expect(second.choices[0].message.content, "It is sunny in Paris.")


def tools_stream(base_url, api_key, model):
    client = connect(base_url, api_key)
    function = {"name": "get_weather", "description": "Weather of a city.", "parameters": WEATHER_SCHEMA}
    offered = [{"type": "function", "function": function}]
    messages = user(PROMPTS["tools_stream"])
    calls, finish = {}, None
    for event in client.chat.stream(model=model, messages=messages, tools=offered):
        for choice in event.data.choices:
            finish = choice.finish_reason or finish
            for piece in choice.delta.tool_calls or []:
                call = calls.setdefault(piece.index, {"id": None, "name": "", "arguments": ""})
                # Where a piece brings none, the SDK puts the word "null".
                call["id"] = call["id"] if piece.id in (None, "null") else piece.id
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments
    expect(finish, "tool_calls")
    calls = list(calls.values())
    two_calls([(call["id"], call["name"], json.loads(call["arguments"])) for call in calls])
    functions = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    called = [{"id": call["id"], "type": "function", "function": function} for call, function in zip(calls, functions)]
    messages += [{"role": "assistant", "content": "", "tool_calls": called}]
    for call, result in zip(calls, WEATHER.values()):
        messages += [{"role": "tool", "name": call["name"], "tool_call_id": call["id"], "content": result}]
    text = ""
    for event in client.chat.stream(model=model, messages=messages, tools=offered):
        for choice in event.data.choices:
            text += choice.delta.content or ""
    expect(text, SUNNY)


def schema(base_url, api_key, model):
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON_SCHEMA}}
    answer = connect(base_url, api_key).chat.complete(
        model=model, messages=user(PROMPTS["schema"]), response_format=form
    )
    expect(json.loads(answer.choices[0].message.content), {"name": "Ada", "age": 36})


def image(base_url, api_key, model):
    parts = [
        {"type": "text", "text": PROMPTS["image"]},
        {"type": "image_url", "image_url": f"data:image/png;base64,{RED_PIXEL}"},
    ]
    answer = connect(base_url, api_key).chat.complete(model=model, messages=user(parts))
    expect(answer.choices[0].message.content, "A single red pixel.")


def error(base_url, api_key, model):
    client = connect(base_url, api_key)
    refused = rejected(errors.SDKError, lambda: client.chat.complete(model=model, messages=user(PROMPTS["refused"])))
    expect(refused.status_code, 400)
    assert "malformed" in refused.body, refused.body
    broken = rejected(errors.SDKError, lambda: client.chat.complete(model=model, messages=user(PROMPTS["broken"])))
    expect(broken.status_code, 502)


def cut(base_url, api_key, model):
    client = connect(base_url, api_key)
    interrupted(lambda: client.chat.stream(model=model, messages=user(PROMPTS["cut"])))


def disconnect(base_url, api_key, model):
    text = ""
    with connect(base_url, api_key).chat.stream(model=model, messages=user(PROMPTS["disconnect"])) as events:
        for event in events:
            for choice in event.data.choices:
                text += choice.delta.content or ""
            if len(text) > 30:
                break
    assert text.startswith("Sentence number 0"), text


run([chat, stream, tools, tools_stream, schema, image, error, cut, disconnect])
