// The unchanged Anthropic SDK for JavaScript against Headgate. The upstream may speak either dialect; this side must not notice.

import Anthropic from "@anthropic-ai/sdk";
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

// Anthropic counts by itself; for OpenAI the gateway guesses.
const COUNTED = { anthropic: [4242, 4242], openai: [1, 50] };

const connect = ({ baseURL, apiKey }) => new Anthropic({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const user = (content) => [{ role: "user", content }];
const textOf = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

await run({
  async chat(at) {
    const answer = await connect(at).messages.create({
      model: at.model,
      system: "Be kind.",
      messages: user(PROMPTS.chat),
      max_tokens: 50,
    });
    assert.equal(textOf(answer), GREETING);
    assert.equal(answer.type, "message");
    assert.equal(answer.role, "assistant");
    assert.equal(answer.stop_reason, "end_turn");
    assert.equal(answer.usage.input_tokens, 12);
    assert.equal(answer.usage.output_tokens, 5);
  },

  async stream(at) {
    const stream = connect(at).messages.stream({ model: at.model, messages: user(PROMPTS.stream), max_tokens: 50 });
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    const answer = await stream.finalMessage();
    assert.equal(textOf(answer), GREETING);
    assert.equal(answer.stop_reason, "end_turn");
    assert.equal(answer.usage.output_tokens, 5);
    assert.equal(kinds[0], "message_start");
    assert.equal(kinds.at(-1), "message_stop");
    const n_deltas = kinds.filter((kind) => kind === "content_block_delta").length;
    assert.ok(n_deltas > 1, `only ${n_deltas} deltas: the stream was folded`);
  },

  async tools(at) {
    const client = connect(at);
    const tools = [{ name: "get_weather", description: "Weather of a city.", input_schema: WEATHER_SCHEMA }];
    const messages = user(PROMPTS.tools);
    const first = await client.messages.create({ model: at.model, messages, tools, max_tokens: 50 });
    assert.equal(first.stop_reason, "tool_use");
    const call = first.content.find((block) => block.type === "tool_use");
    assert.equal(call.name, "get_weather");
    assert.deepEqual(call.input, { city: "Paris" });
    messages.push(
      { role: "assistant", content: first.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] },
    );
    const second = await client.messages.create({ model: at.model, messages, tools, max_tokens: 50 });
    assert.equal(textOf(second), "It is sunny in Paris.");
  },

  async tools_stream(at) {
    const client = connect(at);
    const tools = [{ name: "get_weather", description: "Weather of a city.", input_schema: WEATHER_SCHEMA }];
    const ask = { model: at.model, tools, max_tokens: 50 };
    const messages = user(PROMPTS.tools_stream);
    const first = await client.messages.stream({ ...ask, messages }).finalMessage();
    assert.equal(first.stop_reason, "tool_use");
    const calls = first.content.filter((block) => block.type === "tool_use");
    twoCalls(calls.map(({ id, name, input }) => ({ id, name, args: input })));
    const results = Object.values(WEATHER).map((content, n) => ({ type: "tool_result", tool_use_id: calls[n].id, content }));
    messages.push({ role: "assistant", content: first.content }, { role: "user", content: results });
    assert.equal(textOf(await client.messages.stream({ ...ask, messages }).finalMessage()), SUNNY);
  },

  async schema(at) {
    const answer = await connect(at).messages.create({
      model: at.model,
      messages: user(PROMPTS.schema),
      max_tokens: 50,
      output_config: { format: { type: "json_schema", schema: PERSON_SCHEMA } },
    });
    assert.deepEqual(JSON.parse(textOf(answer)), { name: "Ada", age: 36 });
  },

  async image(at) {
    const answer = await connect(at).messages.create({
      model: at.model,
      max_tokens: 50,
      messages: user([
        { type: "image", source: { type: "base64", media_type: "image/png", data: RED_PIXEL } },
        { type: "text", text: PROMPTS.image },
      ]),
    });
    assert.equal(textOf(answer), "A single red pixel.");
  },

  async error(at) {
    const client = connect(at);
    const refused = client.messages.create({ model: at.model, messages: user(PROMPTS.refused), max_tokens: 50 });
    await assert.rejects(refused, (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.error.type, "error");
      assert.match(error.message, /malformed/);
      return true;
    });
    const broken = client.messages.create({ model: at.model, messages: user(PROMPTS.broken), max_tokens: 50 });
    await assert.rejects(broken, (error) => {
      assert.equal(error.status, 502);
      assert.match(error.message, /upstream_error/);
      return true;
    });
    const stranger = connect({ ...at, apiKey: "not-a-key" });
    const unknown = stranger.messages.create({ model: at.model, messages: user(PROMPTS.chat), max_tokens: 50 });
    await assert.rejects(unknown, (error) => {
      assert.ok(error instanceof Anthropic.AuthenticationError, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.error.error.type, "authentication_error");
      return true;
    });
    const nowhere = client.messages.create({ model: "no-such-model", messages: user(PROMPTS.chat), max_tokens: 50 });
    await assert.rejects(nowhere, (error) => {
      assert.ok(error instanceof Anthropic.NotFoundError, `${error.constructor.name}: ${error.message}`);
      return true;
    });
  },

  async reasoning(at) {
    const client = connect(at);
    const thinking = { type: "enabled", budget_tokens: 1024 };
    const ask = { model: at.model, messages: user(PROMPTS.reasoning), max_tokens: 4000, thinking };
    const answer = await client.messages.create(ask);
    assert.equal(textOf(answer), ANSWER);
    assert.equal(answer.content.find((block) => block.type === "thinking")?.thinking, THOUGHT);
    let thought = "";
    for await (const event of client.messages.stream(ask)) thought += event.delta?.thinking ?? "";
    assert.equal(thought, THOUGHT);
  },

  async models(at) {
    const client = connect(at);
    const listed = [];
    // The SDK turns the pages by itself.
    for await (const model of client.models.list({ limit: 2 })) listed.push(model.id);
    assert.ok(listed.includes(at.model) && listed.length === new Set(listed).size, listed.join());
    assert.equal((await client.models.retrieve(at.model)).id, at.model);
    await assert.rejects(client.models.retrieve("no-such-model"), Anthropic.NotFoundError);
  },

  async tokens(at) {
    if (!COUNTED[at.model]) return;
    const counted = await connect(at).messages.countTokens({ model: at.model, messages: user(PROMPTS.chat), system: "Be kind." });
    const [low, high] = COUNTED[at.model];
    assert.ok(low <= counted.input_tokens && counted.input_tokens <= high, JSON.stringify(counted));
  },

  async cut(at) {
    const ask = { model: at.model, messages: user(PROMPTS.cut), max_tokens: 4000, stream: true };
    await interrupted(await connect(at).messages.create(ask));
  },

  async disconnect(at) {
    const stream = await connect(at).messages.create({
      model: at.model, messages: user(PROMPTS.disconnect), max_tokens: 4000, stream: true,
    });
    let text = "";
    for await (const event of stream) {
      text += event.delta?.text ?? "";
      if (text.length > 30) break;
    }
    stream.controller.abort();
    assert.match(text, /^Sentence number 0/);
  },
});
