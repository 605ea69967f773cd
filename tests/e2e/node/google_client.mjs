// The unchanged Google GenAI SDK for JavaScript against Headgate. The upstream may speak any dialect.

import { ApiError, GoogleGenAI } from "@google/genai";
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
} from "./story.mjs";

const connect = ({ baseURL, apiKey }) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: baseURL, timeout: 20_000 } }).models;
const thoughtsOf = (answer) =>
  (answer.candidates?.[0]?.content?.parts ?? []).filter((part) => part.thought).map((part) => part.text).join("");

await run({
  async chat(at) {
    const config = { systemInstruction: "Be kind.", maxOutputTokens: 50, temperature: 0.5 };
    const answer = await connect(at).generateContent({ model: at.model, contents: PROMPTS.chat, config });
    assert.equal(answer.text, GREETING);
    assert.equal(answer.candidates[0].finishReason, "STOP");
    assert.equal(answer.usageMetadata.promptTokenCount, 12);
    assert.equal(answer.usageMetadata.candidatesTokenCount, 5);
  },

  async stream(at) {
    const chunks = [];
    for await (const chunk of await connect(at).generateContentStream({ model: at.model, contents: PROMPTS.stream })) chunks.push(chunk);
    assert.equal(chunks.map((chunk) => chunk.text ?? "").join(""), GREETING);
    assert.equal(chunks.at(-1).candidates[0].finishReason, "STOP");
    assert.equal(chunks.at(-1).usageMetadata.candidatesTokenCount, 5);
    assert.ok(chunks.length > 2, `only ${chunks.length} chunks: the stream was folded`);
  },

  async tools(at) {
    const models = connect(at);
    const declared = { name: "get_weather", description: "Weather of a city.", parametersJsonSchema: WEATHER_SCHEMA };
    const config = { tools: [{ functionDeclarations: [declared] }] };
    const said = [{ role: "user", parts: [{ text: PROMPTS.tools }] }];
    const first = await models.generateContent({ model: at.model, contents: said, config });
    const [call] = first.functionCalls;
    assert.equal(call.name, "get_weather");
    assert.deepEqual(call.args, { city: "Paris" });
    const functionResponse = { id: call.id, name: call.name, response: { result: "sunny" } };
    said.push(first.candidates[0].content, { role: "user", parts: [{ functionResponse }] });
    const second = await models.generateContent({ model: at.model, contents: said, config });
    assert.equal(second.text, "It is sunny in Paris.");
  },

  async tools_stream(at) {
    const models = connect(at);
    const declared = { name: "get_weather", description: "Weather of a city.", parametersJsonSchema: WEATHER_SCHEMA };
    const ask = { model: at.model, config: { tools: [{ functionDeclarations: [declared] }] } };
    const said = [{ role: "user", parts: [{ text: PROMPTS.tools_stream }] }];
    const parts = [];
    for await (const chunk of await models.generateContentStream({ ...ask, contents: said })) {
      parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
    }
    const calls = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
    const wanted = Object.keys(WEATHER).map((city) => ({ name: "get_weather", args: { city } }));
    assert.deepEqual(calls.map(({ name, args }) => ({ name, args })), wanted);
    const results = Object.values(WEATHER).map((result, n) => ({
      functionResponse: { id: calls[n].id, name: calls[n].name, response: { result } },
    }));
    said.push({ role: "model", parts }, { role: "user", parts: results });
    let text = "";
    for await (const chunk of await models.generateContentStream({ ...ask, contents: said })) text += chunk.text ?? "";
    assert.equal(text, SUNNY);
  },

  async schema(at) {
    const config = { responseMimeType: "application/json", responseJsonSchema: PERSON_SCHEMA };
    const answer = await connect(at).generateContent({ model: at.model, contents: PROMPTS.schema, config });
    assert.deepEqual(JSON.parse(answer.text), { name: "Ada", age: 36 });
  },

  async image(at) {
    const contents = [{ inlineData: { data: RED_PIXEL, mimeType: "image/png" } }, { text: PROMPTS.image }];
    const answer = await connect(at).generateContent({ model: at.model, contents });
    assert.equal(answer.text, "A single red pixel.");
  },

  async reasoning(at) {
    const config = { maxOutputTokens: 4000, thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } };
    const ask = { model: at.model, contents: PROMPTS.reasoning, config };
    const answer = await connect(at).generateContent(ask);
    assert.equal(answer.text, ANSWER);
    assert.equal(thoughtsOf(answer), THOUGHT);
    let thought = "";
    for await (const chunk of await connect(at).generateContentStream(ask)) thought += thoughtsOf(chunk);
    assert.equal(thought, THOUGHT);
  },

  async error(at) {
    const told = (status, words) => (error) => {
      assert.ok(error instanceof ApiError, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.status, status);
      assert.match(error.message, words);
      return true;
    };
    const ask = (model, contents, to = at) => connect(to).generateContent({ model, contents });
    await assert.rejects(ask(at.model, PROMPTS.refused), told(400, /malformed/));
    await assert.rejects(ask(at.model, PROMPTS.broken), told(502, /upstream/));
    await assert.rejects(ask(at.model, PROMPTS.chat, { ...at, apiKey: "not-a-key" }), told(401, /UNAUTHENTICATED/));
    await assert.rejects(ask("no-such-model", PROMPTS.chat), told(404, /NOT_FOUND/));
  },

  async cut(at) {
    await interrupted(await connect(at).generateContentStream({ model: at.model, contents: PROMPTS.cut }));
  },

  async disconnect(at) {
    const leaving = new AbortController();
    const config = { abortSignal: leaving.signal };
    let text = "";
    try {
      for await (const chunk of await connect(at).generateContentStream({ model: at.model, contents: PROMPTS.disconnect, config })) {
        text += chunk.text ?? "";
        if (text.length > 30) leaving.abort();
      }
    } catch (error) {
      assert.ok(leaving.signal.aborted, `${error.name}: ${error.message}`);
    }
    assert.match(text, /^Sentence number 0/);
    assert.ok(text.length < 2000, "the story was read to its end");
  },
});
