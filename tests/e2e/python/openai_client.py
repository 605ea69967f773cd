"""The unchanged OpenAI SDK for Python against Headgate. The upstream may speak either dialect; this side must not notice.

With the variant `azure` it is the SDK's class for Azure, which has Azure's addresses and sends its key as Azure wants it.
"""

import json

import openai
from story import (
    ANSWER,
    GREETING,
    PERSON_SCHEMA,
    PROMPTS,
    RED_PIXEL,
    SUNNY,
    THOUGHT,
    WEATHER,
    WEATHER_SCHEMA,
    expect,
    interrupted,
    rejected,
    run,
    two_calls,
    variant,
)


def connect(base_url, api_key):
    if variant() == "azure":
        return openai.AzureOpenAI(
            azure_endpoint=base_url, api_key=api_key, api_version="2024-10-21", max_retries=0, timeout=20
        )
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)


def user(content):
    return [{"role": "user", "content": content}]


def chat(base_url, api_key, model):
    messages = [{"role": "system", "content": "Be kind."}, *user(PROMPTS["chat"])]
    answer = connect(base_url, api_key).chat.completions.create(model=model, messages=messages, max_tokens=50)
    expect(answer.choices[0].message.content, GREETING)
    expect(answer.choices[0].finish_reason, "stop")
    expect((answer.usage.prompt_tokens, answer.usage.completion_tokens), (12, 5))


def stream(base_url, api_key, model):
    chunks = connect(base_url, api_key).chat.completions.create(
        model=model,
        messages=user(PROMPTS["stream"]),
        max_tokens=50,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, finish, usage, n_chunks = "", None, None, 0
    for chunk in chunks:
        n_chunks += 1
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
        usage = chunk.usage or usage
    expect(text, GREETING)
    expect(finish, "stop")
    expect(usage.completion_tokens, 5)
    assert n_chunks > 2, f"only {n_chunks} chunks: the stream was folded"


def tools(base_url, api_key, model):
    client = connect(base_url, api_key)
    function = {"name": "get_weather", "description": "Weather of a city.", "parameters": WEATHER_SCHEMA}
    offered = [{"type": "function", "function": function}]
    messages = user(PROMPTS["tools"])
    first = client.chat.completions.create(model=model, messages=messages, tools=offered, max_tokens=50)
    expect(first.choices[0].finish_reason, "tool_calls")
    call = first.choices[0].message.tool_calls[0]
    expect((call.function.name, json.loads(call.function.arguments)), ("get_weather", {"city": "Paris"}))
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    second = client.chat.completions.create(model=model, messages=messages, tools=offered, max_tokens=50)
    expect(second.choices[0].message.content, "It is sunny in Paris.")


def tools_stream(base_url, api_key, model):
    client = connect(base_url, api_key)
    function = {"name": "get_weather", "description": "Weather of a city.", "parameters": WEATHER_SCHEMA}
    ask = {"model": model, "tools": [{"type": "function", "function": function}], "max_tokens": 50, "stream": True}
    messages = user(PROMPTS["tools_stream"])
    calls, finish = {}, None
    for chunk in client.chat.completions.create(messages=messages, **ask):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for piece in choice.delta.tool_calls or []:
                empty = {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
                call = calls.setdefault(piece.index, empty)
                call["id"] = piece.id or call["id"]
                call["function"]["name"] += piece.function.name or ""
                call["function"]["arguments"] += piece.function.arguments or ""
    expect((finish, list(calls)), ("tool_calls", [0, 1]))
    calls = list(calls.values())
    two_calls([(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls])
    messages += [{"role": "assistant", "content": None, "tool_calls": calls}]
    for call, result in zip(calls, WEATHER.values()):
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": result}]
    text = ""
    for chunk in client.chat.completions.create(messages=messages, **ask):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    expect(text, SUNNY)


def schema(base_url, api_key, model):
    answer = connect(base_url, api_key).chat.completions.create(
        model=model,
        messages=user(PROMPTS["schema"]),
        max_tokens=50,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "person", "strict": True, "schema": PERSON_SCHEMA},
        },
    )
    expect(json.loads(answer.choices[0].message.content), {"name": "Ada", "age": 36})


def image(base_url, api_key, model):
    parts = [
        {"type": "text", "text": PROMPTS["image"]},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED_PIXEL}"}},
    ]
    answer = connect(base_url, api_key).chat.completions.create(model=model, messages=user(parts), max_tokens=50)
    expect(answer.choices[0].message.content, "A single red pixel.")


def error(base_url, api_key, model):
    client = connect(base_url, api_key)

    def ask(client, model, prompt):
        return lambda: client.chat.completions.create(model=model, messages=user(prompt), max_tokens=50)

    refused = rejected(openai.BadRequestError, ask(client, model, PROMPTS["refused"]))
    assert "malformed" in refused.message, refused.message
    broken = rejected(openai.InternalServerError, ask(client, model, PROMPTS["broken"]))
    expect((broken.status_code, broken.code), (502, "upstream_error"))
    unknown = rejected(openai.AuthenticationError, ask(connect(base_url, "not-a-key"), model, PROMPTS["chat"]))
    expect(unknown.code, "key_invalid")
    nowhere = rejected(openai.NotFoundError, ask(client, "no-such-model", PROMPTS["chat"]))
    expect(nowhere.code, "model_unknown")


def reasoning(base_url, api_key, model):
    client = connect(base_url, api_key)
    ask = {"model": model, "messages": user(PROMPTS["reasoning"]), "reasoning_effort": "low", "max_completion_tokens": 4000}
    answer = client.chat.completions.create(**ask)
    expect(answer.choices[0].message.content, ANSWER)
    expect(answer.choices[0].message.reasoning_content, THOUGHT)
    thought = ""
    for chunk in client.chat.completions.create(**ask, stream=True):
        if chunk.choices:
            thought += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
    expect(thought, THOUGHT)


def models(base_url, api_key, model):
    client = connect(base_url, api_key)
    listed = [listed.id for listed in client.models.list()]
    assert model in listed and len(listed) == len(set(listed)), listed
    expect(client.models.retrieve(model).id, model)
    rejected(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))


def cut(base_url, api_key, model):
    client = connect(base_url, api_key)
    interrupted(
        lambda: client.chat.completions.create(model=model, messages=user(PROMPTS["cut"]), max_tokens=4000, stream=True)
    )


def disconnect(base_url, api_key, model):
    chunks = connect(base_url, api_key).chat.completions.create(
        model=model, messages=user(PROMPTS["disconnect"]), max_tokens=4000, stream=True
    )
    text = ""
    for chunk in chunks:
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if len(text) > 30:
            break
    chunks.close()
    assert text.startswith("Sentence number 0"), text


run([chat, stream, tools, tools_stream, schema, image, reasoning, error, models, cut, disconnect])
