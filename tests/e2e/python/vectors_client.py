"""Vectors and ranking by three unchanged SDKs: OpenAI's embeddings, Google's embed_content, Cohere's rerank.

The variant says which: `openai`, `google` or `cohere`.
"""

import cohere
import openai
from google import genai
from google.genai import types
from story import expect, rejected, run, variant

VECTOR = [0.25, -0.5, 0.125]


def connect(base_url, api_key):
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)


def embed(base_url, api_key, model):
    # Unasked, the SDK wants numbers in base64 and turns them back by itself.
    answer = connect(base_url, api_key).embeddings.create(model=model, input="one text")
    expect(answer.data[0].embedding, VECTOR)
    assert answer.usage.prompt_tokens > 0, answer.usage


def floats(base_url, api_key, model):
    answer = connect(base_url, api_key).embeddings.create(model=model, input="one text", encoding_format="float")
    expect(answer.data[0].embedding, VECTOR)


def several(base_url, api_key, model):
    answer = connect(base_url, api_key).embeddings.create(model=model, input=["one", "two"])
    expect([(item.index, item.embedding) for item in answer.data], [(0, VECTOR), (1, VECTOR)])


def unknown(base_url, api_key, _model):
    client = connect(base_url, api_key)
    rejected(openai.NotFoundError, lambda: client.embeddings.create(model="no-such-model", input="one"))


def google(base_url, api_key):
    return genai.Client(api_key=api_key, http_options=types.HttpOptions(base_url=base_url, timeout=20_000))


def google_embed(base_url, api_key, model):
    client = google(base_url, api_key)
    answer = client.models.embed_content(model=model, contents="one text")
    expect(answer.embeddings[0].values, VECTOR)


def google_several(base_url, api_key, model):
    client = google(base_url, api_key)
    answer = client.models.embed_content(model=model, contents=["one", "two"])
    expect([vector.values for vector in answer.embeddings], [VECTOR, VECTOR])


def google_unknown(base_url, api_key, _model):
    client = google(base_url, api_key)
    rejected(genai.errors.ClientError, lambda: client.models.embed_content(model="no-such-model", contents="one"))


def ranker(base_url, api_key):
    return cohere.Client(base_url=base_url, api_key=api_key, timeout=20)


def rank(base_url, api_key, model):
    answer = ranker(base_url, api_key).rerank(model=model, query="What is warm?", documents=["snow", "the sun"])
    expect([result.index for result in answer.results], [1, 0])
    assert answer.results[0].relevance_score > answer.results[1].relevance_score


def rank_objects(base_url, api_key, model):
    documents = [{"text": "snow"}, {"text": "the sun"}]
    answer = ranker(base_url, api_key).rerank(
        model=model, query="What is warm?", documents=documents, top_n=1, return_documents=True
    )
    expect([(result.index, result.document.text) for result in answer.results], [(1, "the sun")])


def rank_unknown(base_url, api_key, _model):
    client = ranker(base_url, api_key)
    rejected(cohere.NotFoundError, lambda: client.rerank(model="no-such-model", query="x", documents=["y"]))


VARIANTS = {
    "openai": {"vectors": embed, "floats": floats, "several": several, "error": unknown},
    "google": {"vectors": google_embed, "several": google_several, "error": google_unknown},
    "cohere": {"rank": rank, "documents": rank_objects, "error": rank_unknown},
}
run(VARIANTS[variant()])
