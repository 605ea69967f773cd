"""The unchanged OpenAI SDK for Python, its Responses API, against Headgate. No upstream but OpenAI's speaks it.

With the variant `kept` the answers are kept: what continues one, shows it, and takes it away.
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
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)


def chat(base_url, api_key, model):
    answer = connect(base_url, api_key).responses.create(
        model=model, instructions="Be kind.", input=PROMPTS["chat"], max_output_tokens=50, store=False
    )
    expect(answer.output_text, GREETING)
    expect(answer.status, "completed")
    expect((answer.usage.input_tokens, answer.usage.output_tokens), (12, 5))


def stream(base_url, api_key, model):
    kinds, text = [], ""
    with connect(base_url, api_key).responses.stream(model=model, input=PROMPTS["stream"], store=False) as events:
        for event in events:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        answer = events.get_final_response()
    expect((text, answer.output_text), (GREETING, GREETING))
    expect((kinds[0], kinds[-1]), ("response.created", "response.completed"))
    expect(answer.usage.output_tokens, 5)
    assert kinds.count("response.output_text.delta") > 1, f"the stream was folded: {kinds}"


def tools(base_url, api_key, model):
    client = connect(base_url, api_key)
    function = {"type": "function", "name": "get_weather", "description": "Weather of a city."}
    offered = [{**function, "parameters": {**WEATHER_SCHEMA, "additionalProperties": False}, "strict": True}]
    said = [{"role": "user", "content": PROMPTS["tools"]}]
    first = client.responses.create(model=model, input=said, tools=offered, store=False)
    call = next(item for item in first.output if item.type == "function_call")
    expect((call.name, json.loads(call.arguments)), ("get_weather", {"city": "Paris"}))
    said += [item.model_dump(exclude_none=True) for item in first.output]
    said += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    second = client.responses.create(model=model, input=said, tools=offered, store=False)
    expect(second.output_text, "It is sunny in Paris.")


def tools_stream(base_url, api_key, model):
    client = connect(base_url, api_key)
    function = {"type": "function", "name": "get_weather", "description": "Weather of a city."}
    ask = {"model": model, "tools": [{**function, "parameters": WEATHER_SCHEMA}], "store": False, "stream": True}
    said = [{"role": "user", "content": PROMPTS["tools_stream"]}]
    pieces, done, answer = {}, {}, None
    for event in client.responses.create(input=said, **ask):
        if event.type == "response.function_call_arguments.delta":
            pieces[event.item_id] = pieces.get(event.item_id, "") + event.delta
        if event.type == "response.function_call_arguments.done":
            done[event.item_id] = event.arguments
        if event.type == "response.completed":
            answer = event.response
    calls = [item for item in answer.output if item.type == "function_call"]
    two_calls([(call.call_id, call.name, json.loads(call.arguments)) for call in calls])
    whole = {call.id: call.arguments for call in calls}
    expect((pieces, done), (whole, whole))
    said += [item.model_dump(exclude_none=True) for item in answer.output]
    for call, result in zip(calls, WEATHER.values()):
        said += [{"type": "function_call_output", "call_id": call.call_id, "output": result}]
    deltas = [event.delta for event in client.responses.create(input=said, **ask) if event.type == "response.output_text.delta"]
    expect("".join(deltas), SUNNY)


def schema(base_url, api_key, model):
    form = {"type": "json_schema", "name": "person", "strict": True, "schema": PERSON_SCHEMA}
    answer = connect(base_url, api_key).responses.create(
        model=model, input=PROMPTS["schema"], text={"format": form}, store=False
    )
    expect(json.loads(answer.output_text), {"name": "Ada", "age": 36})


def image(base_url, api_key, model):
    parts = [
        {"type": "input_text", "text": PROMPTS["image"]},
        {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{RED_PIXEL}"},
    ]
    answer = connect(base_url, api_key).responses.create(
        model=model, input=[{"role": "user", "content": parts}], store=False
    )
    expect(answer.output_text, "A single red pixel.")


def reasoning(base_url, api_key, model):
    answer = connect(base_url, api_key).responses.create(
        model=model, input=PROMPTS["reasoning"], reasoning={"effort": "low", "summary": "auto"}, store=False
    )
    expect(answer.output_text, ANSWER)
    items = [item for item in answer.output if item.type == "reasoning"]
    thoughts = [part.text for item in items for part in [*(item.summary or []), *(item.content or [])]]
    expect(thoughts[:1], [THOUGHT])


def error(base_url, api_key, model):
    client = connect(base_url, api_key)

    def ask(client, model, prompt):
        return lambda: client.responses.create(model=model, input=prompt, store=False)

    refused = rejected(openai.BadRequestError, ask(client, model, PROMPTS["refused"]))
    assert "malformed" in refused.message, refused.message
    broken = rejected(openai.InternalServerError, ask(client, model, PROMPTS["broken"]))
    expect((broken.status_code, broken.code), (502, "upstream_error"))
    unknown = rejected(openai.AuthenticationError, ask(connect(base_url, "not-a-key"), model, PROMPTS["chat"]))
    expect(unknown.code, "key_invalid")
    nowhere = rejected(openai.NotFoundError, ask(client, "no-such-model", PROMPTS["chat"]))
    expect(nowhere.code, "model_unknown")


def cut(base_url, api_key, model):
    def read():
        for event in connect(base_url, api_key).responses.create(
            model=model, input=PROMPTS["cut"], store=False, stream=True
        ):
            if event.type in ("error", "response.failed"):
                raise ConnectionError(event.type)
            assert event.type != "response.completed", "the cut answer is told to be whole"
            yield event

    interrupted(read, (ConnectionError, openai.APIError))


def disconnect(base_url, api_key, model):
    events = connect(base_url, api_key).responses.create(
        model=model, input=PROMPTS["disconnect"], store=False, stream=True
    )
    text = ""
    for event in events:
        text += event.delta if event.type == "response.output_text.delta" else ""
        if len(text) > 30:
            break
    events.close()
    assert text.startswith("Sentence number 0"), text


# === Kept ===

NAMED = "Your name is Ada."


def begin(client, model):
    answer = client.responses.create(model=model, input=PROMPTS["named"])
    expect(answer.output_text, GREETING)
    return answer


def continued(base_url, api_key, model):
    client = connect(base_url, api_key)
    second = client.responses.create(model=model, input=PROMPTS["name"], previous_response_id=begin(client, model).id)
    expect(second.output_text, NAMED)
    third = client.responses.create(model=model, input=PROMPTS["name"], previous_response_id=second.id)
    expect(third.output_text, NAMED)


def continued_stream(base_url, api_key, model):
    client = connect(base_url, api_key)
    first = begin(client, model)
    with client.responses.stream(model=model, input=PROMPTS["name"], previous_response_id=first.id) as events:
        second = events.get_final_response()
    # Where the upstream's own events are handed on, they know of no earlier answer.
    assert second.output_text == NAMED and second.previous_response_id in (first.id, None), second
    third = client.responses.create(model=model, input=PROMPTS["name"], previous_response_id=second.id)
    expect(third.output_text, NAMED)


def continued_tools(base_url, api_key, model):
    client = connect(base_url, api_key)
    function = {"type": "function", "name": "get_weather", "description": "Weather of a city."}
    offered = [{**function, "parameters": WEATHER_SCHEMA}]
    first = client.responses.create(model=model, input=PROMPTS["tools_stream"], tools=offered)
    calls = [item for item in first.output if item.type == "function_call"]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": result}
        for call, result in zip(calls, WEATHER.values())
    ]
    second = client.responses.create(model=model, input=results, tools=offered, previous_response_id=first.id)
    expect(second.output_text, SUNNY)


def elsewhere(base_url, api_key, model):
    """What one vendor's model began, another's goes on with."""
    client = connect(base_url, api_key)
    other = "anthropic" if model == "openai" else "openai"
    first = begin(client, other)
    second = client.responses.create(model=model, input=PROMPTS["name"], previous_response_id=first.id)
    expect(second.output_text, NAMED)


def retrieved(base_url, api_key, model):
    client = connect(base_url, api_key)
    first = begin(client, model)
    shown = client.responses.retrieve(first.id)
    expect((shown.id, shown.output_text, shown.usage), (first.id, GREETING, first.usage))
    [item] = client.responses.input_items.list(first.id)
    expect((item.role, item.content[0].text), ("user", PROMPTS["named"]))


def deleted(base_url, api_key, model):
    client = connect(base_url, api_key)
    first = begin(client, model)
    client.responses.delete(first.id)
    gone = rejected(openai.NotFoundError, lambda: client.responses.retrieve(first.id))
    expect(gone.code, "response_unknown")
    more = {"model": model, "input": PROMPTS["name"], "previous_response_id": first.id}
    rejected(openai.NotFoundError, lambda: client.responses.create(**more))


if variant() == "kept":
    run([continued, continued_stream, continued_tools, elsewhere, retrieved, deleted])
else:
    run([chat, stream, tools, tools_stream, schema, image, reasoning, error, cut, disconnect])
