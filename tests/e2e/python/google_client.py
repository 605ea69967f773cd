"""The unchanged Google GenAI SDK for Python against Headgate. The upstream may speak any dialect."""

import base64
import json
import threading

from google import genai
from google.genai import errors, types
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
)

THINK = types.GenerateContentConfig(
    max_output_tokens=4000, thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
)


KEPT, LOCK = {}, threading.Lock()

# What the upstream counts, or where it does not count, what is a sound guess.
COUNTED = {"anthropic": (4242, 4242), "openai": (1, 50)}


def connect(base_url, api_key):
    """A client closes its connections when nothing holds it any more, so each is kept."""
    with LOCK:
        if api_key not in KEPT:
            http = types.HttpOptions(base_url=base_url, timeout=20_000)
            KEPT[api_key] = genai.Client(api_key=api_key, http_options=http)
        return KEPT[api_key]


def chat(base_url, api_key, model):
    config = types.GenerateContentConfig(system_instruction="Be kind.", max_output_tokens=50, temperature=0.5)
    answer = connect(base_url, api_key).models.generate_content(model=model, contents=PROMPTS["chat"], config=config)
    expect(answer.text, GREETING)
    expect(answer.candidates[0].finish_reason, types.FinishReason.STOP)
    usage = answer.usage_metadata
    expect((usage.prompt_token_count, usage.candidates_token_count), (12, 5))


def stream(base_url, api_key, model):
    chunks = list(connect(base_url, api_key).models.generate_content_stream(model=model, contents=PROMPTS["stream"]))
    expect("".join(chunk.text or "" for chunk in chunks), GREETING)
    expect(chunks[-1].candidates[0].finish_reason, types.FinishReason.STOP)
    expect(chunks[-1].usage_metadata.candidates_token_count, 5)
    assert len(chunks) > 2, f"only {len(chunks)} chunks: the stream was folded"


def with_weather():
    declared = types.FunctionDeclaration(
        name="get_weather", description="Weather of a city.", parameters_json_schema=WEATHER_SCHEMA
    )
    return types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


def tools(base_url, api_key, model):
    client, config = connect(base_url, api_key), with_weather()
    said = [types.Content(role="user", parts=[types.Part(text=PROMPTS["tools"])])]
    first = client.models.generate_content(model=model, contents=said, config=config)
    [call] = first.function_calls
    expect((call.name, call.args), ("get_weather", {"city": "Paris"}))
    answered = types.FunctionResponse(id=call.id, name=call.name, response={"result": "sunny"})
    said += [first.candidates[0].content, types.Content(role="user", parts=[types.Part(function_response=answered)])]
    second = client.models.generate_content(model=model, contents=said, config=config)
    expect(second.text, "It is sunny in Paris.")


def tools_stream(base_url, api_key, model):
    client, config = connect(base_url, api_key), with_weather()
    said = [types.Content(role="user", parts=[types.Part(text=PROMPTS["tools_stream"])])]
    parts = []
    for chunk in client.models.generate_content_stream(model=model, contents=said, config=config):
        for candidate in chunk.candidates or []:
            parts += (candidate.content and candidate.content.parts) or []
    calls = [part.function_call for part in parts if part.function_call]
    expect([(call.name, call.args) for call in calls], [("get_weather", {"city": city}) for city in WEATHER])
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": result}))
        for call, result in zip(calls, WEATHER.values())
    ]
    said += [types.Content(role="model", parts=parts), types.Content(role="user", parts=results)]
    chunks = client.models.generate_content_stream(model=model, contents=said, config=config)
    expect("".join(chunk.text or "" for chunk in chunks), SUNNY)


def schema(base_url, api_key, model):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=PERSON_SCHEMA)
    answer = connect(base_url, api_key).models.generate_content(model=model, contents=PROMPTS["schema"], config=config)
    expect(json.loads(answer.text), {"name": "Ada", "age": 36})


def image(base_url, api_key, model):
    pixel = types.Part.from_bytes(data=base64.b64decode(RED_PIXEL), mime_type="image/png")
    answer = connect(base_url, api_key).models.generate_content(model=model, contents=[pixel, PROMPTS["image"]])
    expect(answer.text, "A single red pixel.")


def thoughts_of(parts):
    return "".join(part.text for part in parts if part.thought)


def reasoning(base_url, api_key, model):
    client = connect(base_url, api_key)
    answer = client.models.generate_content(model=model, contents=PROMPTS["reasoning"], config=THINK)
    expect(answer.text, ANSWER)
    expect(thoughts_of(answer.candidates[0].content.parts), THOUGHT)
    thought = ""
    for chunk in client.models.generate_content_stream(model=model, contents=PROMPTS["reasoning"], config=THINK):
        if chunk.candidates and chunk.candidates[0].content:
            thought += thoughts_of(chunk.candidates[0].content.parts or [])
    expect(thought, THOUGHT)


def error(base_url, api_key, model):
    client = connect(base_url, api_key)

    def ask(client, model, prompt):
        return lambda: client.models.generate_content(model=model, contents=prompt)

    refused = rejected(errors.ClientError, ask(client, model, PROMPTS["refused"]))
    expect(refused.code, 400)
    assert "malformed" in refused.message, refused.message
    broken = rejected(errors.ServerError, ask(client, model, PROMPTS["broken"]))
    expect(broken.code, 502)
    unknown = rejected(errors.ClientError, ask(connect(base_url, "not-a-key"), model, PROMPTS["chat"]))
    expect((unknown.code, unknown.status), (401, "UNAUTHENTICATED"))
    nowhere = rejected(errors.ClientError, ask(client, "no-such-model", PROMPTS["chat"]))
    expect((nowhere.code, nowhere.status), (404, "NOT_FOUND"))


def tokens(base_url, api_key, model):
    if model not in COUNTED:
        return
    counted = connect(base_url, api_key).models.count_tokens(model=model, contents=PROMPTS["chat"])
    low, high = COUNTED[model]
    assert low <= counted.total_tokens <= high, counted


def cut(base_url, api_key, model):
    client = connect(base_url, api_key)
    interrupted(lambda: client.models.generate_content_stream(model=model, contents=PROMPTS["cut"]))


def disconnect(base_url, api_key, model):
    chunks = connect(base_url, api_key).models.generate_content_stream(model=model, contents=PROMPTS["disconnect"])
    text = ""
    for chunk in chunks:
        text += chunk.text or ""
        if len(text) > 30:
            break
    chunks.close()
    assert text.startswith("Sentence number 0"), text


run([chat, stream, tools, tools_stream, schema, image, reasoning, error, tokens, cut, disconnect])
