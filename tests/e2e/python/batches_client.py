"""The unchanged OpenAI and Anthropic SDKs for Python, their files and batches, against Headgate."""

import json
import sys

import anthropic
import openai
from openai.types.chat import ChatCompletion

HELLO = [{"role": "user", "content": "hello"}]


def line(name, model):
    body = {"model": model, "messages": HELLO}
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})


def refusal(call):
    try:
        call()
    except openai.APIStatusError as error:
        return [error.status_code, error.code]
    raise AssertionError("it was not refused")


def openai_batch(client, calls):
    content = "\n".join(line(*call) for call in calls) + "\n"
    file = client.files.create(file=("b.jsonl", content.encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert batch.input_file_id == file.id, batch
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    # Read twice: what it cost is booked once.
    outputs = [client.files.content(batch.output_file_id).text for _ in range(2)]
    assert outputs[0] == outputs[1]
    answers = [json.loads(answer) for answer in outputs[0].splitlines()]
    listed = [it.id for it in client.batches.list()]
    assert batch.id in listed, listed
    kept = [it.id for it in client.files.list()]
    assert file.id in kept, kept
    assert client.files.delete(file.id).deleted
    return {"ids": [file.id, batch.id, batch.output_file_id],
            "said": [ChatCompletion.model_validate(it["response"]["body"]).choices[0].message.content for it in answers],
            "answers": [[it["custom_id"], it["response"]["body"]["model"]] for it in answers]}


def message_batch(client, model):
    requests = [{"custom_id": "third", "params": {"model": model, "max_tokens": 5, "messages": HELLO}}]
    batch = client.messages.batches.create(requests=requests)
    batch = client.messages.batches.retrieve(batch.id)
    assert batch.processing_status == "ended", batch
    results = list(client.messages.batches.results(batch.id))
    return {"ids": [batch.id, batch.results_url],
            "answers": [[it.custom_id, it.result.message.model] for it in results]}


def main(base_url, api_key, model, translated):
    vendor = openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)
    other = anthropic.Anthropic(base_url=base_url, api_key=api_key, max_retries=0, timeout=20)
    refused = {
        "unknown model": refusal(lambda: vendor.files.create(file=("b.jsonl", line("x", "nope").encode()), purpose="batch")),
        "another's id": refusal(lambda: vendor.files.content("file-up0")),
    }
    print(json.dumps({"openai": openai_batch(vendor, [("first", "gpt-4o"), ("second", "gpt-4o-mini")]),
                      "gemini": openai_batch(vendor, [("fourth", translated)]), "anthropic": message_batch(other, model), "refused": refused}))


if __name__ == "__main__":
    main(*sys.argv[1:5])
