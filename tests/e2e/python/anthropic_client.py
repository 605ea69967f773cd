"""The unchanged Anthropic SDK for Python against Headgate. The upstream may speak either dialect; this side must not notice."""

import json

import anthropic
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
)


# Anthropic counts by itself; for OpenAI the gateway guesses.
COUNTED = {"anthropic": (4242, 4242), "openai": (1, 50)}


def connect(base_url, api_key):
    return anthropic.Anthropic(base_url=base_url, api_key=api_key, max_retries=0, timeout=20)


def user(content):
    return [{"role": "user", "content": content}]


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def chat(base_url, api_key, model):
    answer = connect(base_url, api_key).messages.create(
        model=model, system="Be kind.", messages=user(PROMPTS["chat"]), max_tokens=50
    )
    expect(text_of(answer), GREETING)
    expect(answer.stop_reason, "end_turn")
    expect((answer.usage.input_tokens, answer.usage.output_tokens), (12, 5))


def stream(base_url, api_key, model):
    kinds = []
    with connect(base_url, api_key).messages.stream(
        model=model, messages=user(PROMPTS["stream"]), max_tokens=50
    ) as events:
        for event in events:
            kinds.append(event.type)
        answer = events.get_final_message()
    expect(text_of(answer), GREETING)
    expect(answer.stop_reason, "end_turn")
    expect(answer.usage.output_tokens, 5)
    assert kinds.count("content_block_delta") > 1, f"the stream was folded: {kinds}"


def tools(base_url, api_key, model):
    client = connect(base_url, api_key)
    offered = [{"name": "get_weather", "description": "Weather of a city.", "input_schema": WEATHER_SCHEMA}]
    messages = user(PROMPTS["tools"])
    first = client.messages.create(model=model, messages=messages, tools=offered, max_tokens=50)
    expect(first.stop_reason, "tool_use")
    call = next(block for block in first.content if block.type == "tool_use")
    expect((call.name, call.input), ("get_weather", {"city": "Paris"}))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(model=model, messages=messages, tools=offered, max_tokens=50)
    expect(text_of(second), "It is sunny in Paris.")


def tools_stream(base_url, api_key, model):
    client = connect(base_url, api_key)
    offered = [{"name": "get_weather", "description": "Weather of a city.", "input_schema": WEATHER_SCHEMA}]
    ask = {"model": model, "tools": offered, "max_tokens": 50}
    messages = user(PROMPTS["tools_stream"])
    with client.messages.stream(messages=messages, **ask) as events:
        n_pieces = sum(event.type == "input_json" for event in events)
        first = events.get_final_message()
    expect(first.stop_reason, "tool_use")
    calls = [block for block in first.content if block.type == "tool_use"]
    two_calls([(call.id, call.name, call.input) for call in calls])
    assert n_pieces >= 2, f"{n_pieces} pieces of two inputs"
    results = zip(calls, WEATHER.values())
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": result} for call, result in results]
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    with client.messages.stream(messages=messages, **ask) as events:
        expect(events.get_final_text(), SUNNY)


def schema(base_url, api_key, model):
    answer = connect(base_url, api_key).messages.create(
        model=model,
        messages=user(PROMPTS["schema"]),
        max_tokens=50,
        output_config={"format": {"type": "json_schema", "schema": PERSON_SCHEMA}},
    )
    expect(json.loads(text_of(answer)), {"name": "Ada", "age": 36})


def image(base_url, api_key, model):
    parts = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": RED_PIXEL}},
        {"type": "text", "text": PROMPTS["image"]},
    ]
    answer = connect(base_url, api_key).messages.create(model=model, messages=user(parts), max_tokens=50)
    expect(text_of(answer), "A single red pixel.")


def error(base_url, api_key, model):
    client = connect(base_url, api_key)

    def ask(client, model, prompt):
        return lambda: client.messages.create(model=model, messages=user(prompt), max_tokens=50)

    refused = rejected(anthropic.BadRequestError, ask(client, model, PROMPTS["refused"]))
    assert "malformed" in str(refused), refused
    broken = rejected(anthropic.InternalServerError, ask(client, model, PROMPTS["broken"]))
    expect(broken.status_code, 502)
    unknown = rejected(anthropic.AuthenticationError, ask(connect(base_url, "not-a-key"), model, PROMPTS["chat"]))
    expect(unknown.body["error"]["type"], "authentication_error")
    rejected(anthropic.NotFoundError, ask(client, "no-such-model", PROMPTS["chat"]))


def reasoning(base_url, api_key, model):
    client = connect(base_url, api_key)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    ask = {"model": model, "messages": user(PROMPTS["reasoning"]), "max_tokens": 4000, "thinking": thinking}
    answer = client.messages.create(**ask)
    expect(text_of(answer), ANSWER)
    expect("".join(block.thinking for block in answer.content if block.type == "thinking"), THOUGHT)
    with client.messages.stream(**ask) as events:
        thought = "".join(event.thinking for event in events if event.type == "thinking")
    expect(thought, THOUGHT)


def models(base_url, api_key, model):
    client = connect(base_url, api_key)
    # The SDK turns the pages by itself.
    listed = [listed.id for listed in client.models.list(limit=2)]
    assert model in listed and len(listed) == len(set(listed)), listed
    expect(client.models.retrieve(model).id, model)
    rejected(anthropic.NotFoundError, lambda: client.models.retrieve("no-such-model"))


def tokens(base_url, api_key, model):
    if model not in COUNTED:
        return
    counted = connect(base_url, api_key).messages.count_tokens(model=model, messages=user(PROMPTS["chat"]), system="Be kind.")
    low, high = COUNTED[model]
    assert low <= counted.input_tokens <= high, counted


def cut(base_url, api_key, model):
    client = connect(base_url, api_key)
    ask = {"model": model, "messages": user(PROMPTS["cut"]), "max_tokens": 4000}
    interrupted(lambda: client.messages.create(**ask, stream=True))


def disconnect(base_url, api_key, model):
    events = connect(base_url, api_key).messages.create(
        model=model, messages=user(PROMPTS["disconnect"]), max_tokens=4000, stream=True
    )
    text = ""
    for event in events:
        text += getattr(getattr(event, "delta", None), "text", None) or ""
        if len(text) > 30:
            break
    events.close()
    assert text.startswith("Sentence number 0"), text


run([chat, stream, tools, tools_stream, schema, image, reasoning, error, models, tokens, cut, disconnect])
