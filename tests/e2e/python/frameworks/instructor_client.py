"""instructor, which makes objects of answers, unchanged, against Headgate: by JSON schema and by tool call."""

import instructor
import openai
from pydantic import BaseModel
from story import PROMPTS, expect, rejected, run


class Person(BaseModel):
    """Someone."""

    name: str
    age: int


def connect(base_url, api_key):
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)
    return instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)


def schema(base_url, api_key, model):
    person = connect(base_url, api_key).chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": PROMPTS["schema"]}],
        response_model=Person,
        max_tokens=50,
        max_retries=0,
    )
    expect(person.model_dump(), {"name": "Ada", "age": 36})


def stream(base_url, api_key, model):
    people = connect(base_url, api_key).chat.completions.create_partial(
        model=model,
        messages=[{"role": "user", "content": PROMPTS["schema"]}],
        response_model=Person,
        max_tokens=50,
        max_retries=0,
    )
    seen = [person.model_dump() for person in people]
    expect(seen[-1], {"name": "Ada", "age": 36})
    assert any(person["age"] is None for person in seen), f"the object came whole: {seen}"


def error(base_url, api_key, model):
    def ask():
        connect(base_url, api_key).chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": PROMPTS["refused"]}],
            response_model=Person,
            max_retries=0,
        )

    assert "malformed" in str(rejected(Exception, ask))


run([schema, stream, error])
