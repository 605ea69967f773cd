// The unchanged OpenAI SDK for JavaScript against Headgate. The upstream may speak either dialect; this side must not notice.

import OpenAI from "openai";
import {
  ANSWER,
  GREETING,
  PERSON_SCHEMA,
  PROMPTS,
  RED_PIXEL,
  SUNNY,
  THOUGHT,
  WEATHER,
  WEATHER_SCHEMA,
  assert,
  interrupted,
  run,
  twoCalls,
} from "./story.mjs";

const connect = ({ baseURL, apiKey }) => new OpenAI({ baseURL: `${baseURL}/v1`, apiKey, maxRetries: 0, timeout: 20_000 });
const user = (content) => [{ role: "user", content }];

await run({
  async chat(at) {
    const answer = await connect(at).chat.completions.create({
      model: at.model,
      messages: [{ role: "system", content: "Be kind." }, ...user(PROMPTS.chat)],
      max_tokens: 50,
      temperature: 0.5,
    });
    assert.equal(answer.choices[0].message.content, GREETING);
    assert.equal(answer.choices[0].message.role, "assistant");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.usage.prompt_tokens, 12);
    assert.equal(answer.usage.completion_tokens, 5);
  },

  async stream(at) {
    const stream = await connect(at).chat.completions.create({
      model: at.model,
      messages: user(PROMPTS.stream),
      max_tokens: 50,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let finish = null;
    let usage = null;
    let n_chunks = 0;
    for await (const chunk of stream) {
      n_chunks += 1;
      assert.equal(chunk.object, "chat.completion.chunk");
      text += chunk.choices[0]?.delta?.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, GREETING);
    assert.equal(finish, "stop");
    assert.ok(n_chunks > 2, `only ${n_chunks} chunks: the stream was folded`);
    assert.equal(usage?.completion_tokens, 5);
  },

  async tools(at) {
    const client = connect(at);
    const tools = [
      { type: "function", function: { name: "get_weather", description: "Weather of a city.", parameters: WEATHER_SCHEMA } },
    ];
    const messages = user(PROMPTS.tools);
    const first = await client.chat.completions.create({ model: at.model, messages, tools, max_tokens: 50 });
    assert.equal(first.choices[0].finish_reason, "tool_calls");
    const [call] = first.choices[0].message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
    messages.push(first.choices[0].message, { role: "tool", tool_call_id: call.id, content: "sunny" });
    const second = await client.chat.completions.create({ model: at.model, messages, tools, max_tokens: 50 });
    assert.equal(second.choices[0].message.content, "It is sunny in Paris.");
  },

  async tools_stream(at) {
    const client = connect(at);
    const tools = [
      { type: "function", function: { name: "get_weather", description: "Weather of a city.", parameters: WEATHER_SCHEMA } },
    ];
    const ask = { model: at.model, tools, max_tokens: 50, stream: true };
    const messages = user(PROMPTS.tools_stream);
    const calls = [];
    let finish = null;
    for await (const chunk of await client.chat.completions.create({ ...ask, messages })) {
      finish = chunk.choices[0]?.finish_reason ?? finish;
      for (const piece of chunk.choices[0]?.delta?.tool_calls ?? []) {
        const call = (calls[piece.index] ??= { id: null, type: "function", function: { name: "", arguments: "" } });
        call.id = piece.id ?? call.id;
        call.function.name += piece.function?.name ?? "";
        call.function.arguments += piece.function?.arguments ?? "";
      }
    }
    assert.equal(finish, "tool_calls");
    twoCalls(calls.map((call) => ({ id: call.id, name: call.function.name, args: JSON.parse(call.function.arguments) })));
    messages.push({ role: "assistant", content: null, tool_calls: calls });
    Object.values(WEATHER).forEach((content, n) => messages.push({ role: "tool", tool_call_id: calls[n].id, content }));
    let text = "";
    for await (const chunk of await client.chat.completions.create({ ...ask, messages })) text += chunk.choices[0]?.delta?.content ?? "";
    assert.equal(text, SUNNY);
  },

  async schema(at) {
    const answer = await connect(at).chat.completions.create({
      model: at.model,
      messages: user(PROMPTS.schema),
      max_tokens: 50,
      response_format: { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON_SCHEMA } },
    });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { name: "Ada", age: 36 });
  },

  async image(at) {
    const answer = await connect(at).chat.completions.create({
      model: at.model,
      max_tokens: 50,
      messages: user([
        { type: "text", text: PROMPTS.image },
        { type: "image_url", image_url: { url: `data:image/png;base64,${RED_PIXEL}` } },
      ]),
    });
    assert.equal(answer.choices[0].message.content, "A single red pixel.");
  },

  async error(at) {
    const client = connect(at);
    const refused = client.chat.completions.create({ model: at.model, messages: user(PROMPTS.refused), max_tokens: 50 });
    await assert.rejects(refused, (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError, `${error.constructor.name}: ${error.message}`);
      assert.match(error.message, /malformed/);
      return true;
    });
    const broken = client.chat.completions.create({ model: at.model, messages: user(PROMPTS.broken), max_tokens: 50 });
    await assert.rejects(broken, (error) => {
      assert.equal(error.status, 502);
      assert.equal(error.code, "upstream_error");
      return true;
    });
    const stranger = connect({ ...at, apiKey: "not-a-key" });
    const unknown = stranger.chat.completions.create({ model: at.model, messages: user(PROMPTS.chat) });
    await assert.rejects(unknown, (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.code, "key_invalid");
      return true;
    });
    const nowhere = client.chat.completions.create({ model: "no-such-model", messages: user(PROMPTS.chat) });
    await assert.rejects(nowhere, (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.code, "model_unknown");
      return true;
    });
  },

  async reasoning(at) {
    const client = connect(at);
    const ask = { model: at.model, messages: user(PROMPTS.reasoning), reasoning_effort: "low", max_completion_tokens: 4000 };
    const answer = await client.chat.completions.create(ask);
    assert.equal(answer.choices[0].message.content, ANSWER);
    assert.equal(answer.choices[0].message.reasoning_content, THOUGHT);
    let thought = "";
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
      thought += chunk.choices[0]?.delta?.reasoning_content ?? "";
    }
    assert.equal(thought, THOUGHT);
  },

  async models(at) {
    const client = connect(at);
    const listed = [];
    for await (const model of client.models.list()) listed.push(model.id);
    assert.ok(listed.includes(at.model) && listed.length === new Set(listed).size, listed.join());
    assert.equal((await client.models.retrieve(at.model)).id, at.model);
    await assert.rejects(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
  },

  async cut(at) {
    const ask = { model: at.model, messages: user(PROMPTS.cut), max_tokens: 4000, stream: true };
    await interrupted(await connect(at).chat.completions.create(ask));
  },

  async disconnect(at) {
    const stream = await connect(at).chat.completions.create({
      model: at.model, messages: user(PROMPTS.disconnect), max_tokens: 4000, stream: true,
    });
    let text = "";
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      if (text.length > 30) break;
    }
    stream.controller.abort();
    assert.match(text, /^Sentence number 0/);
  },
});
