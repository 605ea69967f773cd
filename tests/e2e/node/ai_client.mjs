// The AI SDK against Headgate, through its provider packages, unchanged. The variant says which of them speaks.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, Output, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
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
  run,
  twoCalls,
  variant,
} from "./story.mjs";

const CONNECT = {
  chat: ({ baseURL, apiKey, model }) => createOpenAI({ baseURL: `${baseURL}/v1`, apiKey }).chat(model),
  responses: ({ baseURL, apiKey, model }) => createOpenAI({ baseURL: `${baseURL}/v1`, apiKey }).responses(model),
  messages: ({ baseURL, apiKey, model }) => createAnthropic({ baseURL: `${baseURL}/v1`, apiKey })(model),
  gemini: ({ baseURL, apiKey, model }) => createGoogleGenerativeAI({ baseURL: `${baseURL}/v1beta`, apiKey })(model),
};
const THINK = {
  responses: { openai: { reasoningEffort: "low", reasoningSummary: "auto", store: false, forceReasoning: true } },
  messages: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
  gemini: { google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } } },
};
const OPTIONS = variant === "responses" ? { openai: { store: false } } : undefined;
const ask = (at, more) => ({ model: CONNECT[variant](at), maxRetries: 0, providerOptions: OPTIONS, ...more });

const scenarios = {
  async chat(at) {
    const answer = await generateText(ask(at, { system: "Be kind.", prompt: PROMPTS.chat, maxOutputTokens: 50 }));
    assert.equal(answer.text, GREETING);
    assert.equal(answer.finishReason, "stop");
    assert.equal(answer.usage.inputTokens, 12);
    assert.equal(answer.usage.outputTokens, 5);
  },

  async stream(at) {
    const stream = streamText(ask(at, { prompt: PROMPTS.stream, onError: () => {} }));
    const deltas = [];
    for await (const delta of stream.textStream) deltas.push(delta);
    assert.equal(deltas.join(""), GREETING);
    assert.ok(deltas.length > 1, "the stream was folded");
    assert.equal(await stream.finishReason, "stop");
    assert.equal((await stream.usage).outputTokens, 5);
  },

  async tools(at) {
    const get_weather = tool({
      description: "Weather of a city.",
      inputSchema: jsonSchema(WEATHER_SCHEMA),
      execute: async ({ city }) => (city === "Paris" ? "sunny" : assert.fail(`asked about ${city}`)),
    });
    const answer = await generateText(ask(at, { prompt: PROMPTS.tools, tools: { get_weather }, stopWhen: stepCountIs(3) }));
    assert.equal(answer.steps.length, 2);
    assert.equal(answer.text, "It is sunny in Paris.");
  },

  async tools_stream(at) {
    const get_weather = tool({
      description: "Weather of a city.",
      inputSchema: jsonSchema(WEATHER_SCHEMA),
      execute: async ({ city }) => WEATHER[city] ?? assert.fail(`asked about ${city}`),
    });
    const more = { prompt: PROMPTS.tools_stream, tools: { get_weather }, stopWhen: stepCountIs(3), onError: () => {} };
    const stream = streamText(ask(at, more));
    const kinds = [];
    for await (const part of stream.fullStream) kinds.push(part.type);
    const steps = await stream.steps;
    assert.equal(steps.length, 2);
    twoCalls(steps[0].toolCalls.map(({ toolCallId, toolName, input }) => ({ id: toolCallId, name: toolName, args: input })));
    assert.deepEqual(steps[0].toolResults.map(({ output }) => output), Object.values(WEATHER));
    assert.ok(kinds.includes("tool-input-delta"), `no input came in pieces: ${[...new Set(kinds)]}`);
    assert.equal(await stream.text, SUNNY);
  },

  async schema(at) {
    const output = Output.object({ schema: jsonSchema(PERSON_SCHEMA) });
    const answer = await generateText(ask(at, { prompt: PROMPTS.schema, output }));
    assert.deepEqual(answer.output, { name: "Ada", age: 36 });
  },

  async image(at) {
    const content = [{ type: "text", text: PROMPTS.image }, { type: "image", image: RED_PIXEL, mediaType: "image/png" }];
    const answer = await generateText(ask(at, { messages: [{ role: "user", content }] }));
    assert.equal(answer.text, "A single red pixel.");
  },

  async reasoning(at) {
    const answer = await generateText(ask(at, { prompt: PROMPTS.reasoning, providerOptions: THINK[variant], maxOutputTokens: 4000 }));
    assert.equal(answer.text, ANSWER);
    assert.equal(answer.reasoningText, THOUGHT);
  },

  async error(at) {
    const told = (status, words) => (error) => {
      assert.ok(APICallError.isInstance(error), `${error.name}: ${error.message}`);
      assert.equal(error.statusCode, status);
      assert.match(error.message, words);
      return true;
    };
    await assert.rejects(generateText(ask(at, { prompt: PROMPTS.refused })), told(400, /malformed/));
    await assert.rejects(generateText(ask(at, { prompt: PROMPTS.broken })), told(502, /upstream/));
    await assert.rejects(generateText(ask({ ...at, model: "no-such-model" }, { prompt: PROMPTS.chat })), told(404, /./));
  },

  async cut(at) {
    const kinds = [];
    for await (const part of streamText(ask(at, { prompt: PROMPTS.cut, onError: () => {} })).fullStream) kinds.push(part.type);
    assert.ok(kinds.includes("text-delta"), `nothing came: ${kinds}`);
    assert.ok(kinds.includes("error"), `the stream ended as if it were whole: ${[...new Set(kinds)]}`);
  },

  async disconnect(at) {
    const leaving = new AbortController();
    const stream = streamText(ask(at, { prompt: PROMPTS.disconnect, abortSignal: leaving.signal, onError: () => {} }));
    let text = "";
    for await (const delta of stream.textStream) {
      text += delta;
      if (text.length > 30) leaving.abort();
    }
    assert.match(text, /^Sentence number 0/);
    assert.ok(text.length < 2000, "the story was read to its end");
  },
};
// What this package's chat models say of their thoughts is not in OpenAI's own API, and so not in theirs.
if (variant === "chat") delete scenarios.reasoning;
await run(scenarios);
