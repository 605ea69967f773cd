"""The unchanged OpenAI SDK for Python and what its API had before chat: completions, whole and as a stream."""

import openai
from story import GREETING, PROMPTS, expect, interrupted, rejected, run


def connect(base_url, api_key):
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)


def chat(base_url, api_key, model):
    answer = connect(base_url, api_key).completions.create(model=model, prompt=PROMPTS["chat"], max_tokens=50)
    expect((answer.choices[0].text, answer.choices[0].finish_reason), (GREETING, "stop"))
    expect((answer.usage.prompt_tokens, answer.usage.completion_tokens), (12, 5))


def stream(base_url, api_key, model):
    chunks = connect(base_url, api_key).completions.create(
        model=model,
        prompt=PROMPTS["stream"],
        max_tokens=50,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, usage, n_pieces = "", None, 0
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.text
            n_pieces += 1 if choice.text else 0
        usage = chunk.usage or usage
    expect((text, usage.completion_tokens), (GREETING, 5))
    assert n_pieces > 1, "the stream was folded"


def error(base_url, api_key, model):
    client = connect(base_url, api_key)

    def ask(model, prompt):
        return lambda: client.completions.create(model=model, prompt=prompt, max_tokens=50)

    refused = rejected(openai.BadRequestError, ask(model, PROMPTS["refused"]))
    assert "malformed" in refused.message, refused.message
    expect(rejected(openai.InternalServerError, ask(model, PROMPTS["broken"])).code, "upstream_error")
    expect(rejected(openai.NotFoundError, ask("no-such-model", PROMPTS["chat"])).code, "model_unknown")


def cut(base_url, api_key, model):
    client = connect(base_url, api_key)
    interrupted(
        lambda: client.completions.create(model=model, prompt=PROMPTS["cut"], max_tokens=4000, stream=True)
    )


run([chat, stream, error, cut])
