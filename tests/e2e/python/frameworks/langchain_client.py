"""LangChain's own way of talking to OpenAI, unchanged, against Headgate."""

from functools import reduce
from operator import add

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from story import GREETING, PROMPTS, RED_PIXEL, SUNNY, WEATHER, expect, interrupted, rejected, run, two_calls


class Person(BaseModel):
    """Someone."""

    name: str
    age: int


class GetWeather(BaseModel):
    """Weather of a city."""

    city: str


def connect(base_url, api_key, model, **more):
    return ChatOpenAI(base_url=f"{base_url}/v1", api_key=api_key, model=model, max_retries=0, timeout=20, **more)


def chat(base_url, api_key, model):
    answer = connect(base_url, api_key, model).invoke([("system", "Be kind."), ("human", PROMPTS["chat"])])
    expect(answer.content, GREETING)
    expect((answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]), (12, 5))


def stream(base_url, api_key, model):
    chunks = list(connect(base_url, api_key, model, stream_usage=True).stream(PROMPTS["stream"]))
    expect("".join(chunk.content for chunk in chunks), GREETING)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    expect(whole.usage_metadata["output_tokens"], 5)


def with_weather(base_url, api_key, model):
    weather = {"name": "get_weather", "description": "Weather of a city.", "parameters": GetWeather.model_json_schema()}
    return connect(base_url, api_key, model).bind_tools([{"type": "function", "function": weather}])


def tools(base_url, api_key, model):
    bound = with_weather(base_url, api_key, model)
    said = [HumanMessage(PROMPTS["tools"])]
    first = bound.invoke(said)
    [call] = first.tool_calls
    expect((call["name"], call["args"]), ("get_weather", {"city": "Paris"}))
    second = bound.invoke([*said, first, ToolMessage("sunny", tool_call_id=call["id"])])
    expect(second.content, "It is sunny in Paris.")


def tools_stream(base_url, api_key, model):
    bound = with_weather(base_url, api_key, model)
    said = [HumanMessage(PROMPTS["tools_stream"])]
    # LangChain puts the pieces of a call together by itself when chunks are added.
    first = reduce(add, bound.stream(said))
    two_calls([(call["id"], call["name"], call["args"]) for call in first.tool_calls])
    results = zip(first.tool_calls, WEATHER.values())
    results = [ToolMessage(result, tool_call_id=call["id"]) for call, result in results]
    expect("".join(chunk.content for chunk in bound.stream([*said, first, *results])), SUNNY)


def schema(base_url, api_key, model):
    bound = connect(base_url, api_key, model).with_structured_output(Person, method="json_schema")
    expect(bound.invoke(PROMPTS["schema"]), Person(name="Ada", age=36))


def image(base_url, api_key, model):
    parts = [
        {"type": "text", "text": PROMPTS["image"]},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED_PIXEL}"}},
    ]
    expect(connect(base_url, api_key, model).invoke([HumanMessage(parts)]).content, "A single red pixel.")


def error(base_url, api_key, model):
    refused = rejected(Exception, lambda: connect(base_url, api_key, model).invoke(PROMPTS["refused"]))
    expect(refused.status_code, 400)
    assert "malformed" in str(refused), refused
    broken = rejected(Exception, lambda: connect(base_url, api_key, model).invoke(PROMPTS["broken"]))
    expect(broken.status_code, 502)


def cut(base_url, api_key, model):
    interrupted(lambda: connect(base_url, api_key, model).stream(PROMPTS["cut"]))


def disconnect(base_url, api_key, model):
    chunks = connect(base_url, api_key, model).stream(PROMPTS["disconnect"])
    text = ""
    for chunk in chunks:
        text += chunk.content
        if len(text) > 30:
            break
    chunks.close()
    assert text.startswith("Sentence number 0"), text


run([chat, stream, tools, tools_stream, schema, image, error, cut, disconnect])
