"""The unchanged OpenAI SDK for Python, its realtime client, against Headgate."""

import json
import sys

import openai
from websockets.exceptions import ConnectionClosed


def connect(base_url, api_key):
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)


def say(session, text):
    content = [{"type": "input_text", "text": text}]
    session.conversation.item.create(item={"type": "message", "role": "user", "content": content})
    session.response.create()
    said = ""
    for event in session:
        if event.type in ("response.output_text.delta", "response.text.delta"):
            said += event.delta
        elif event.type == "error":
            raise AssertionError(event.error)
        elif event.type == "response.done":
            return said, event.response.usage


def main(base_url, api_key, model):
    """Two turns of one session; a refusal before the session."""
    with connect(base_url, api_key).realtime.connect(model=model) as session:
        first = session.recv()
        assert first.type == "session.created", first
        session.session.update(session={"type": "realtime", "model": model, "output_modalities": ["text"]})
        assert session.recv().type == "session.updated"
        turns = [say(session, text) for text in ("Hello there", "And once more")]
    try:
        with connect(base_url, api_key).realtime.connect(model="no-such-model", ) as session:
            session.recv()
    except Exception as error:  # the SDK hands on what its WebSocket library says
        refused = f"{type(error).__name__}: {error}"
    else:
        refused = None
    usages = [{"input": usage.input_tokens, "output": usage.output_tokens} for _, usage in turns if usage]
    print(json.dumps({"texts": [text for text, _ in turns], "usages": usages, "refused": refused}))


def revoked(base_url, api_key, model):
    """Says hello, then waits to be told that the key is no good any more."""
    with connect(base_url, api_key).realtime.connect(model=model) as session:
        session.recv()
        print(json.dumps({"is_open": True}), flush=True)
        try:
            for event in session:
                if event.type == "error":
                    code = event.error.code
        except ConnectionClosed as closed:
            print(json.dumps({"code": code, "close": closed.rcvd.code}))


if __name__ == "__main__":
    {"main": main, "revoked": revoked}[sys.argv[4]](*sys.argv[1:4])
