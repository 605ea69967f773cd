// What the SDK scripts share: the facts every scenario checks, and how a result is told.
//
// A script is called with BASE_URL KEY MODEL[,MODEL…] [VARIANT] and prints one line of JSON:
// {"model": {"scenario": {"ok": true} | {"ok": false, "why"}}}. A scenario is a function of {baseURL, apiKey, model}.

import assert from "node:assert/strict";

export const RED_PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

export const PERSON_SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

export const WEATHER_SCHEMA = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

export const PROMPTS = {
  chat: "Say hello.",
  stream: "Say hello in a stream.",
  tools: "What is the weather in Paris?",
  tools_stream: "What is the weather in Paris and in Rome?",
  schema: "Extract the person: Ada, 36.",
  image: "What is in this image?",
  refused: "Refuse this.",
  broken: "Break down.",
  reasoning: "Think first.",
  cut: "Cut this off.",
  disconnect: "Tell me a long story.",
};

export const THOUGHT = "Six times seven.";
export const ANSWER = "The answer is 42.";
export const variant = process.argv[5] ?? "";

export const GREETING = "Hello from the upstream.";
// What two calls in one answer ask about, and what their results say.
export const WEATHER = { Paris: "sunny", Rome: "rainy" };
export const SUNNY = "It is sunny in Paris.";

// Checks the two calls of one answer: both whole, in order, with ids of their own.
export function twoCalls(calls) {
  const said = calls.map(({ name, args }) => ({ name, args }));
  assert.deepEqual(said, Object.keys(WEATHER).map((city) => ({ name: "get_weather", args: { city } })));
  const ids = new Set(calls.map(({ id }) => id).filter(Boolean));
  assert.equal(ids.size, 2, JSON.stringify(calls));
}

// Reads a stream that breaks off in the middle: something must have come, and its end must be an error.
export async function interrupted(stream) {
  let n_pieces = 0;
  try {
    for await (const _ of stream) n_pieces += 1;
  } catch (error) {
    assert.ok(n_pieces > 0, `nothing came before the end: ${error}`);
    return error;
  }
  assert.fail(`the stream ended as if it were whole, after ${n_pieces} pieces`);
}

export async function run(scenarios) {
  const [baseURL, apiKey, models] = process.argv.slice(2);
  const results = {};
  const waiting = [];
  for (const model of models.split(",")) {
    results[model] = {};
    for (const [name, scenario] of Object.entries(scenarios)) waiting.push({ model, name, scenario });
  }
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      try {
        await next.scenario({ baseURL, apiKey, model: next.model });
        results[next.model][next.name] = { ok: true };
      } catch (error) {
        results[next.model][next.name] = { ok: false, why: `${error?.name}: ${error?.message}`.slice(0, 1200) };
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  console.log(JSON.stringify(results));
  process.exit(0);
}

export { assert };
