"""Reads every recorded answer of the responses dialect with OpenAI's own client, as strictly as its types allow.

Run with a Python that has the `openai` package: `python crates/llm/tests/sdk/responses.py`. It is not part of the test
run, which needs no network and no Python; run it when the writer of responses changes. Each event must fit the vendor's
types, and the client's accumulator must end with what the stream said.
"""

import json
import pathlib
import sys
import threading
import typing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import ValidationError

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures" / "dialect"
UNION = typing.get_args(ResponseStreamEvent)[0]
EVENTS = {typing.get_args(event.model_fields["type"].annotation)[0]: event for event in typing.get_args(UNION)}


class Upstream(BaseHTTPRequestHandler):
    """Answers a request for model `<dialect>/<case>/<file>` with that file."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers["content-length"])
        model = json.loads(self.rfile.read(length))["model"]
        path = FIXTURES / model
        body = path.read_bytes()
        kind = "text/event-stream"
        if path.suffix == ".json":
            kind, body = "application/json", json.dumps(json.loads(body)["body"]).encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def check_type(kind, value):
    """A value fits the vendor's type, save that more codes of failures are in use than the type names."""
    value = json.loads(json.dumps(value))
    for response in (value, value.get("response") or {}):
        if "output" in response and response.get("error"):
            response["error"]["code"] = "server_error"
    kind.model_validate(value)


def check_events(text):
    """Every event fits the vendor's types; numbers rise by one; the event's name is its type."""
    numbers, kinds, name = [], [], None
    for line in text.splitlines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            assert name == event["type"], (name, event["type"])
            check_type(EVENTS[event["type"]], event)
            numbers.append(event["sequence_number"])
            kinds.append(event["type"])
            check_place(event, kinds)
    assert numbers == list(range(len(numbers))), numbers
    return kinds


def check_place(event, kinds, items={}):
    """Ids stay the same from an item's beginning to its end."""
    if event["type"] == "response.created":
        items.clear()
    if event["type"] == "response.output_item.added":
        items[event["output_index"]] = event["item"].get("id")
    elif event["type"] == "response.output_item.done":
        assert items[event["output_index"]] == event["item"].get("id"), event
    elif "item_id" in event:
        assert items[event["output_index"]] == event["item_id"], event
    elif event["type"] in ("response.completed", "response.incomplete"):
        ids = [item.get("id") for item in event["response"]["output"]]
        assert ids == [items[at] for at in sorted(items)], (ids, items)


def check_stream(client, path, model):
    kinds = check_events(path.read_text())
    is_failed = "error" in kinds
    try:
        events = list(client.responses.create(model=model, input="x", stream=True))
        assert not is_failed, "an error that the client does not raise"
        assert [event.type for event in events] == kinds
    except openai.APIError as error:
        assert is_failed and error.message, error
        return
    if kinds[-1] != "response.completed":
        return
    with client.responses.stream(model=model, input="x") as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert final.output_text == said, (final.output_text, said)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = openai.OpenAI(api_key="none", base_url=f"http://127.0.0.1:{server.server_port}", max_retries=0)
    failures = count = 0
    for path in sorted(FIXTURES.glob("*/*/client_openai_responses.*")):
        model = str(path.relative_to(FIXTURES))
        body = json.loads(path.read_text())["body"] if path.suffix == ".json" else None
        if body is not None and "kind" in json.loads(path.read_text()):
            continue  # an error body, which has no types
        count += 1
        try:
            if path.suffix == ".sse":
                check_stream(client, path, model)
            else:
                check_type(Response, body)
                client.responses.create(model=model, input="x")
        except (AssertionError, ValidationError, RuntimeError, IndexError, KeyError) as error:
            failures += 1
            print(f"{model}: {type(error).__name__}:", *str(error).splitlines()[:4])
    print(f"{count} answers, {failures} failures, openai {openai.__version__}")
    sys.exit(failures > 0 or count == 0)


if __name__ == "__main__":
    main()
