"""What the SDK scripts share: the facts every scenario checks, and how a result is told.

A script is called with BASE_URL KEY MODEL[,MODEL…] [VARIANT] and prints one line of JSON:
{"model": {"scenario": {"ok": true} | {"ok": false, "why"}}}. A scenario is a function of (base_url, api_key, model).
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
PERSON_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PROMPTS = {
    "chat": "Say hello.",
    "stream": "Say hello in a stream.",
    "tools": "What is the weather in Paris?",
    "tools_stream": "What is the weather in Paris and in Rome?",
    "schema": "Extract the person: Ada, 36.",
    "image": "What is in this image?",
    "refused": "Refuse this.",
    "broken": "Break down.",
    "reasoning": "Think first.",
    "cut": "Cut this off.",
    "disconnect": "Tell me a long story.",
    "named": "My name is Ada.",
    "name": "What is my name?",
}
THOUGHT = "Six times seven."
ANSWER = "The answer is 42."
GREETING = "Hello from the upstream."
# What two calls in one answer ask about, and what their results say.
WEATHER = {"Paris": "sunny", "Rome": "rainy"}
SUNNY = "It is sunny in Paris."


def expect(actual, wanted):
    """Fails with both values when they differ."""
    assert actual == wanted, f"got {actual!r}, wanted {wanted!r}"


def two_calls(calls):
    """Checks the two calls of one answer, given as (id, name, arguments): both whole, in order, with ids of their own."""
    expect([(name, arguments) for _, name, arguments in calls], [("get_weather", {"city": city}) for city in WEATHER])
    ids = [call_id for call_id, _, _ in calls]
    assert all(ids) and len(set(ids)) == 2, ids


def rejected(kind, call):
    """Runs `call`, which must raise `kind`; returns the error."""
    try:
        call()
    except kind as error:
        return error
    except Exception as error:  # noqa: BLE001 - the wrong kind is the finding
        raise AssertionError(f"wanted {kind.__name__}, got {type(error).__name__}: {error}") from error
    raise AssertionError(f"wanted {kind.__name__}, got an answer")


def interrupted(read, kinds=Exception):
    """Reads a stream that breaks off in the middle: something must have come, and its end must be an error of `kinds`."""
    came = []
    try:
        for piece in read():
            came.append(piece)
    except kinds as error:
        assert came, f"nothing came before the end: {type(error).__name__}: {error}"
        return error
    raise AssertionError(f"the stream ended as if it were whole, after {len(came)} pieces")


def variant():
    """The variant that the script was called with."""
    return sys.argv[4] if len(sys.argv) > 4 else ""


def run(scenarios):
    """Runs every scenario with every model, several at a time, and tells the results.

    `scenarios` are functions of the scenarios' names, or such functions by name.
    """
    base_url, api_key, models = sys.argv[1:4]
    named = scenarios if isinstance(scenarios, dict) else {scenario.__name__: scenario for scenario in scenarios}

    def one(model, scenario):
        try:
            scenario(base_url, api_key, model)
            return {"ok": True}
        except Exception as error:  # noqa: BLE001 - every failure is a result
            return {"ok": False, "why": f"{type(error).__name__}: {error}"[:1200]}

    with ThreadPoolExecutor(6) as pool:
        waiting = {
            model: {name: pool.submit(one, model, scenario) for name, scenario in named.items()}
            for model in models.split(",")
        }
        results = {
            model: {name: told.result() for name, told in of_model.items()} for model, of_model in waiting.items()
        }
    print(json.dumps(results), flush=True)
    # Streams that were left may still be held by an SDK's own threads.
    os._exit(0)
