"""The unchanged AWS SDK through the pass-through of Bedrock's own API: its Converse, or with the variant `invoke` its Invoke.

The key goes where the SDK has a place for one of Bedrock's own: in AWS_BEARER_TOKEN_BEDROCK. It sends such a key over TLS only,
so a small terminator stands before the gateway, as a load balancer does.
"""

import base64
import json
import os
import tempfile
from threading import Lock

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from story import (
    ANSWER,
    GREETING,
    PERSON_SCHEMA,
    PROMPTS,
    RED_PIXEL,
    THOUGHT,
    WEATHER_SCHEMA,
    expect,
    interrupted,
    rejected,
    run,
    two_calls,
    variant,
)
from terminator import terminate

NOVA = "amazon.nova-pro-v1:0"
CLAUDE = "anthropic.claude-opus-4-5-20251101-v1:0"
CONFIG = Config(retries={"total_max_attempts": 1}, read_timeout=20)
CONNECTED = {}
CONNECTING = Lock()
TERMINATED = []


def connect(base_url, api_key):
    """The SDK reads its key when a client is made, and clients are slow to make."""
    with CONNECTING:
        if api_key not in CONNECTED:
            os.environ["AWS_BEARER_TOKEN_BEDROCK"] = api_key
            if not TERMINATED:
                TERMINATED.extend(terminate(base_url, tempfile.mkdtemp()))
            address, certificate = TERMINATED
            CONNECTED[api_key] = boto3.client(
                "bedrock-runtime",
                region_name="eu-west-1",
                endpoint_url=f"{address}/passthrough/bedrock",
                verify=certificate,
                config=CONFIG,
            )
        return CONNECTED[api_key]


def user(*content):
    return [{"role": "user", "content": list(content)}]


# === Converse ===


def converse(base_url, api_key, prompt, **more):
    return connect(base_url, api_key).converse(modelId=NOVA, messages=user({"text": prompt}), **more)


def text_of(answer):
    return "".join(block.get("text", "") for block in answer["output"]["message"]["content"])


def chat(base_url, api_key, _model):
    answer = converse(base_url, api_key, PROMPTS["chat"], system=[{"text": "Be kind."}])
    expect((text_of(answer), answer["stopReason"]), (GREETING, "end_turn"))
    expect((answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]), (12, 5))


def stream(base_url, api_key, _model):
    answer = connect(base_url, api_key).converse_stream(modelId=NOVA, messages=user({"text": PROMPTS["stream"]}))
    events = list(answer["stream"])
    pieces = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    expect("".join(pieces), GREETING)
    assert len(pieces) > 1, "the stream was folded"
    [usage] = [event["metadata"]["usage"] for event in events if "metadata" in event]
    expect(usage["outputTokens"], 5)


def tools(base_url, api_key, _model):
    tool = {"name": "get_weather", "description": "Weather of a city.", "inputSchema": {"json": WEATHER_SCHEMA}}
    offered = {"tools": [{"toolSpec": tool}]}
    first = converse(base_url, api_key, PROMPTS["tools"], toolConfig=offered)
    expect(first["stopReason"], "tool_use")
    said = first["output"]["message"]
    [call] = [block["toolUse"] for block in said["content"] if "toolUse" in block]
    expect((call["name"], call["input"]), ("get_weather", {"city": "Paris"}))
    result = {"toolUseId": call["toolUseId"], "content": [{"text": "sunny"}]}
    messages = [*user({"text": PROMPTS["tools"]}), said, *user({"toolResult": result})]
    second = connect(base_url, api_key).converse(modelId=NOVA, messages=messages, toolConfig=offered)
    expect(text_of(second), "It is sunny in Paris.")


def tools_stream(base_url, api_key, _model):
    tool = {"name": "get_weather", "description": "Weather of a city.", "inputSchema": {"json": WEATHER_SCHEMA}}
    answer = connect(base_url, api_key).converse_stream(
        modelId=NOVA, messages=user({"text": PROMPTS["tools_stream"]}), toolConfig={"tools": [{"toolSpec": tool}]}
    )
    calls, stop = {}, None
    for event in answer["stream"]:
        if "contentBlockStart" in event:
            start = event["contentBlockStart"]
            calls[start["contentBlockIndex"]] = {**start["start"]["toolUse"], "input": ""}
        if "contentBlockDelta" in event:
            piece = event["contentBlockDelta"]
            calls[piece["contentBlockIndex"]]["input"] += piece["delta"]["toolUse"]["input"]
        stop = event.get("messageStop", {}).get("stopReason", stop)
    expect(stop, "tool_use")
    two_calls([(call["toolUseId"], call["name"], json.loads(call["input"])) for call in calls.values()])


def schema(base_url, api_key, _model):
    form = {"type": "json_schema", "structure": {"jsonSchema": {"name": "person", "schema": json.dumps(PERSON_SCHEMA)}}}
    answer = converse(base_url, api_key, PROMPTS["schema"], outputConfig={"textFormat": form})
    expect(json.loads(text_of(answer)), {"name": "Ada", "age": 36})


def image(base_url, api_key, _model):
    picture = {"image": {"format": "png", "source": {"bytes": base64.b64decode(RED_PIXEL)}}}
    answer = connect(base_url, api_key).converse(modelId=NOVA, messages=user({"text": PROMPTS["image"]}, picture))
    expect(text_of(answer), "A single red pixel.")


def reasoning(base_url, api_key, _model):
    answer = converse(base_url, api_key, PROMPTS["reasoning"])
    thoughts = [block["reasoningContent"] for block in answer["output"]["message"]["content"] if "reasoningContent" in block]
    expect((thoughts[0]["reasoningText"]["text"], text_of(answer)), (THOUGHT, ANSWER))


def error(base_url, api_key, _model):
    refused = rejected(ClientError, lambda: converse(base_url, api_key, PROMPTS["refused"]))
    expect(refused.response["Error"]["Code"], "ValidationException")
    assert "malformed" in str(refused), refused
    broken = rejected(ClientError, lambda: converse(base_url, api_key, PROMPTS["broken"]))
    expect(broken.response["ResponseMetadata"]["HTTPStatusCode"], 500)
    unknown = rejected(ClientError, lambda: converse(base_url, "not-a-key", PROMPTS["chat"]))
    expect(unknown.response["ResponseMetadata"]["HTTPStatusCode"], 401)


def cut(base_url, api_key, _model):
    client = connect(base_url, api_key)
    interrupted(lambda: client.converse_stream(modelId=NOVA, messages=user({"text": PROMPTS["cut"]}))["stream"])


def disconnect(base_url, api_key, _model):
    answer = connect(base_url, api_key).converse_stream(modelId=NOVA, messages=user({"text": PROMPTS["disconnect"]}))
    text = ""
    for event in answer["stream"]:
        text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
        if len(text) > 30:
            break
    answer["stream"].close()
    assert text.startswith("Sentence number 0"), text


# === Invoke ===


def body(content, **more):
    messages = [{"role": "user", "content": content}]
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": messages, **more})


def invoke(base_url, api_key, content, **more):
    answer = connect(base_url, api_key).invoke_model(modelId=CLAUDE, body=body(content, **more))
    return json.loads(answer["body"].read())


def invoke_stream(base_url, api_key, content, **more):
    answer = connect(base_url, api_key).invoke_model_with_response_stream(modelId=CLAUDE, body=body(content, **more))
    for event in answer["body"]:
        yield json.loads(event["chunk"]["bytes"])


def invoke_chat(base_url, api_key, _model):
    answer = invoke(base_url, api_key, PROMPTS["chat"], system="Be kind.")
    expect((answer["content"][0]["text"], answer["stop_reason"]), (GREETING, "end_turn"))
    expect((answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]), (12, 5))


def invoke_streamed(base_url, api_key, _model):
    events = list(invoke_stream(base_url, api_key, PROMPTS["stream"]))
    pieces = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    expect("".join(pieces), GREETING)
    assert len(pieces) > 1, "the stream was folded"


def invoke_tools(base_url, api_key, _model):
    offered = [{"name": "get_weather", "description": "Weather of a city.", "input_schema": WEATHER_SCHEMA}]
    answer = invoke(base_url, api_key, PROMPTS["tools"], tools=offered)
    expect((answer["stop_reason"], answer["content"][0]["input"]), ("tool_use", {"city": "Paris"}))


def invoke_tools_streamed(base_url, api_key, _model):
    offered = [{"name": "get_weather", "description": "Weather of a city.", "input_schema": WEATHER_SCHEMA}]
    calls = {}
    for event in invoke_stream(base_url, api_key, PROMPTS["tools_stream"], tools=offered):
        if event["type"] == "content_block_start":
            calls[event["index"]] = {**event["content_block"], "input": ""}
        if event["type"] == "content_block_delta":
            calls[event["index"]]["input"] += event["delta"]["partial_json"]
    two_calls([(call["id"], call["name"], json.loads(call["input"])) for call in calls.values()])


def invoke_error(base_url, api_key, _model):
    refused = rejected(ClientError, lambda: invoke(base_url, api_key, PROMPTS["refused"]))
    expect(refused.response["ResponseMetadata"]["HTTPStatusCode"], 400)


def invoke_cut(base_url, api_key, _model):
    interrupted(lambda: invoke_stream(base_url, api_key, PROMPTS["cut"]))


def embeddings(base_url, api_key, _model):
    asked = json.dumps({"inputText": "one"})
    answer = connect(base_url, api_key).invoke_model(modelId="amazon.titan-embed-text-v2:0", body=asked)
    expect(len(json.loads(answer["body"].read())["embedding"]), 3)


if variant() == "invoke":
    run(
        {
            "chat": invoke_chat,
            "stream": invoke_streamed,
            "tools": invoke_tools,
            "tools_stream": invoke_tools_streamed,
            "error": invoke_error,
            "cut": invoke_cut,
            "embeddings": embeddings,
        }
    )
else:
    run([chat, stream, tools, tools_stream, schema, image, reasoning, error, cut, disconnect])
