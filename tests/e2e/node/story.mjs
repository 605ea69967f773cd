// What the SDK scripts share: the facts every scenario checks, and how a result is told.
//
// A script is called with BASE_URL KEY MODEL and prints one line of JSON: {"scenario": {"ok": true} | {"ok": false, "why"}}.

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
  schema: "Extract the person: Ada, 36.",
  image: "What is in this image?",
  refused: "Refuse this.",
  broken: "Break down.",
  disconnect: "Tell me a long story.",
};

export const GREETING = "Hello from the upstream.";

export async function run(scenarios) {
  const [baseURL, apiKey, model, only] = process.argv.slice(2);
  const results = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (only && only !== name) continue;
    try {
      await scenario({ baseURL, apiKey, model });
      results[name] = { ok: true };
    } catch (error) {
      results[name] = { ok: false, why: `${error?.name}: ${error?.message}`.slice(0, 2000) };
    }
  }
  console.log(JSON.stringify(results));
  const failed = Object.values(results).filter((result) => !result.ok).length;
  process.exit(failed === 0 ? 0 : 1);
}

export { assert };
