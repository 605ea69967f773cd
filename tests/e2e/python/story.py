"""What the SDK scripts share: the facts every scenario checks, and how a result is told.

A script is called with BASE_URL KEY MODEL and prints one line of JSON: {"scenario": {"ok": true} | {"ok": false, "why"}}.
"""

import json
import sys

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
    "schema": "Extract the person: Ada, 36.",
    "image": "What is in this image?",
    "refused": "Refuse this.",
    "broken": "Break down.",
    "disconnect": "Tell me a long story.",
}
GREETING = "Hello from the upstream."


def expect(actual, wanted):
    """Fails with both values when they differ."""
    assert actual == wanted, f"got {actual!r}, wanted {wanted!r}"


def rejected(kind, call):
    """Runs `call`, which must raise `kind`; returns the error."""
    try:
        call()
    except kind as error:
        return error
    except Exception as error:  # noqa: BLE001 - the wrong kind is the finding
        raise AssertionError(f"wanted {kind.__name__}, got {type(error).__name__}: {error}") from error
    raise AssertionError(f"wanted {kind.__name__}, got an answer")


def run(scenarios):
    """Runs every scenario and tells the results; exits with 1 when one failed."""
    base_url, api_key, model = sys.argv[1:4]
    results = {}
    for scenario in scenarios:
        try:
            scenario(base_url, api_key, model)
            results[scenario.__name__] = {"ok": True}
        except Exception as error:  # noqa: BLE001 - every failure is a result
            results[scenario.__name__] = {"ok": False, "why": f"{type(error).__name__}: {error}"[:2000]}
    print(json.dumps(results))
    sys.exit(0 if all(result["ok"] for result in results.values()) else 1)
