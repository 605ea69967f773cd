// Runs @copilotkit/aimock as the upstream of every provider, behind a recorder.
//
// The recorder keeps what aimock does not: raw bodies, the headers that arrived, and whether the caller hung up. Prints one
// line of JSON when ready: {"url"}. `GET /__record` gives what was seen, `DELETE /__record` forgets it. Ends with stdin.

import http from "node:http";
import net from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { LLMock } from "@copilotkit/aimock";

const USAGE = { prompt_tokens: 12, completion_tokens: 5, input_tokens: 12, output_tokens: 5 };
const STORY = Array.from({ length: 400 }, (_, n) => `Sentence number ${n} of a long story.`).join(" ");

const textOf = (message) =>
  typeof message?.content === "string"
    ? message.content
    : (message?.content ?? []).map((part) => part.text ?? "").join(" ");
const lastUserText = (request) => textOf(request.messages.filter((message) => message.role === "user").at(-1));

const mock = new LLMock({ port: 0, host: "127.0.0.1" });
const says = (text) => ({ predicate: (request) => lastUserText(request).includes(text) });
mock.on({ hasToolResult: true }, { content: "It is sunny in Paris.", usage: USAGE });
const hasHeard = (request) => request.messages.some((message) => message.role === "user" && textOf(message).includes("My name is Ada"));
mock.on(
  { predicate: (request) => lastUserText(request).includes("What is my name") && hasHeard(request) },
  { content: "Your name is Ada.", usage: USAGE },
);
mock.on(
  says("in Paris and in Rome"),
  {
    toolCalls: ["Paris", "Rome"].map((city, n) => ({ id: `call_weather_${n + 1}`, name: "get_weather", arguments: `{"city":"${city}"}` })),
    usage: USAGE,
  },
  { chunkSize: 6 },
);
mock.on(says("weather in Paris"), {
  toolCalls: [{ id: "call_weather_1", name: "get_weather", arguments: '{"city":"Paris"}' }],
  usage: USAGE,
});
mock.on(says("Extract the person"), { content: '{"name":"Ada","age":36}', usage: USAGE });
mock.on(says("What is in this image"), { content: "A single red pixel.", usage: USAGE });
mock.on(says("Refuse this"), {
  error: { message: "The upstream says this request is malformed.", type: "invalid_request_error", code: "bad_value" },
  status: 400,
});
mock.on(says("Break down"), { error: { message: "The upstream is on fire.", type: "server_error" }, status: 500 });
mock.on(says("long story"), { content: STORY, usage: USAGE }, { chunkSize: 24, streamingProfile: { ttft: 1, tps: 50 } });
mock.on(says("Cut this off"), { content: STORY, usage: USAGE }, { chunkSize: 24, truncateAfterChunks: 8, streamingProfile: { ttft: 1, tps: 50 } });
mock.on(says("Think first"), { content: "The answer is 42.", reasoning: "Six times seven.", usage: USAGE });
mock.on(says(""), { content: "Hello from the upstream.", usage: USAGE }, { chunkSize: 6 });
await mock.start();
const target = new URL(mock.url);

// Where aimock does not answer as the vendor does, its answer is put right here.
const VENDORS = [
  // Google ends a turn with calls with STOP, as any other.
  ...["/v1beta/models/", "/v1/projects/"].map((path) => ({ path, put_right: (text) => text.replaceAll('"FUNCTION_CALL"', '"STOP"') })),
  // Ollama counts.
  {
    path: "/api/chat",
    put_right: (text) => text.replaceAll('"prompt_eval_count":0', '"prompt_eval_count":12').replaceAll('"eval_count":0', '"eval_count":5'),
  },
];

// What aimock has no part for, or without a count, in the vendor's own form.
const VECTOR = [0.25, -0.5, 0.125];
const N_TEXT = 7;
const ranked = (name, count) => (body) => ({
  ...count,
  [name]: body.documents
    .map((_, index) => ({ index, relevance_score: index === 1 ? 0.9 : 0.1 }))
    .sort((a, b) => b.relevance_score - a.relevance_score)
    .slice(0, body.top_n ?? body.top_k),
});
const RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const pictures = (n) => Array.from({ length: n ?? 1 }, () => RED_PIXEL);
const PICTURE_USAGE = { input_tokens: 7, output_tokens: 11, total_tokens: 18 };
// The recording that the scripts send is this long.
const N_SECONDS = 3;
const heard = (file) => `Heard ${Buffer.from(file.bytes, "base64").length} bytes.`;

// Speech in four pieces, of which a cut one has two.
class Spoken {
  constructor(isCut) {
    this.isCut = isCut;
  }

  async tell(response) {
    response.writeHead(200, { "content-type": "audio/mpeg" });
    for (let n = 0; n < (this.isCut ? 2 : 4); n += 1) {
      response.write(`spoken piece ${n};`);
      await pause(30);
    }
    if (this.isCut) response.destroy();
    else response.end();
  }
}

// What was heard, in the form that was asked for.
function transcript(form) {
  const text = heard(form.files[0]);
  // Whisper answers whole, whatever is asked.
  if (form.stream === "true" && !form.model.startsWith("whisper")) {
    const usage = { type: "tokens", input_tokens: 7, output_tokens: 11, total_tokens: 18 };
    const events = [
      { type: "transcript.text.delta", delta: text.slice(0, 6) },
      { type: "transcript.text.delta", delta: text.slice(6) },
      { type: "transcript.text.done", text, usage },
    ];
    return { type: "text/event-stream", text: events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("") };
  }
  if (form.response_format === "text") return { type: "text/plain", text: `${text}\n` };
  if (form.response_format === "verbose_json") {
    const words = [{ word: "Heard", start: 0, end: 1.5 }];
    return { task: "transcribe", language: "english", duration: N_SECONDS, text, words };
  }
  return { text, usage: { type: "duration", seconds: N_SECONDS } };
}

// Mistral counts, and leaves the verdict to who asks.
function moderation({ model, input }) {
  const isOpenAi = model.startsWith("omni");
  const results = [input].flat().map((text) => {
    const is = text.includes("hurt");
    const result = { categories: { violence: is }, category_scores: { violence: is ? 0.9 : 0.1 } };
    return isOpenAi ? { flagged: is, ...result, category_applied_input_types: { violence: ["text"] } } : result;
  });
  const usage = isOpenAi ? {} : { usage: { prompt_tokens: N_TEXT, total_tokens: N_TEXT, completion_tokens: 0 } };
  return { id: "modr-1", model, results, ...usage };
}

// What is asked of those answers may be refused, or break them.
const TROUBLE = [
  ["Refuse this", 400, "The upstream says this request is malformed."],
  ["Break down", 500, "The upstream is on fire."],
];
const asVendorRefuses = (path, status, message) => {
  if (/^\/v1\/(?:text-to-speech|speech-to-text)/.test(path)) return { detail: { status: "invalid_request", message } };
  if (/^\/v1\/(?:speak|listen)$/.test(path)) return { err_code: "Bad Request", err_msg: message, request_id: "r" };
  if (path.startsWith("/v1beta/")) return { error: { code: status, message, status: status === 400 ? "INVALID_ARGUMENT" : "INTERNAL" } };
  return { error: { message, type: "invalid_request_error", param: null, code: null } };
};
const OURS = [
  [/^\/v1\/messages\/count_tokens/, () => ({ input_tokens: 4242 })],
  [
    /\/embeddings$/,
    ({ model, input, encoding_format }) => {
      const embedding = encoding_format === "base64" ? Buffer.from(new Float32Array(VECTOR).buffer).toString("base64") : VECTOR;
      const data = [input].flat().map((_, index) => ({ object: "embedding", index, embedding }));
      return { object: "list", data, model, usage: { prompt_tokens: N_TEXT, total_tokens: N_TEXT } };
    },
  ],
  [/^\/api\/embed$/, ({ model, input }) => ({ model, embeddings: [input].flat().map(() => VECTOR), prompt_eval_count: N_TEXT })],
  [/:batchEmbedContents$/, (body) => ({ embeddings: body.requests.map(() => ({ values: VECTOR })), usageMetadata: { promptTokenCount: N_TEXT } })],
  [
    /\/publishers\/google\/models\/[^/]+:predict$/,
    (body) => ({ predictions: body.instances.map(() => ({ embeddings: { values: VECTOR, statistics: { token_count: N_TEXT / body.instances.length, truncated: false } } })) }),
  ],
  [/^\/model\/amazon\.titan-embed[^/]*\/invoke$/, () => ({ embedding: VECTOR, inputTextTokenCount: N_TEXT })],
  [/^\/v2\/embed$/, (body) => ({ id: "e", embeddings: { float: body.texts.map(() => VECTOR) }, texts: body.texts, response_type: "embeddings_by_type", meta: { billed_units: { input_tokens: N_TEXT } } })],
  [/^\/v2\/rerank$/, ranked("results", { id: "r", meta: { billed_units: { search_units: 1 } } })],
  [/^\/v1beta\/models\/imagen[^:]*:predict$/, (body) => ({ predictions: pictures(body.parameters.sampleCount).map((bytesBase64Encoded) => ({ bytesBase64Encoded, mimeType: "image/png" })) })],
  [/\/images\/generations$/, (body) => ({ created: 1, data: pictures(body.n).map((b64_json) => ({ b64_json })), usage: PICTURE_USAGE })],
  // What is changed or varied is what was sent.
  [/\/images\/(?:edits|variations)$/, (form) => ({ created: 1, data: Array.from({ length: Number(form.n ?? 1) }, () => ({ b64_json: form.files[0].bytes })), usage: PICTURE_USAGE })],
  [/\/audio\/speech$|^\/v1\/text-to-speech\/|^\/v1\/speak$/, (body) => new Spoken((body.input ?? body.text).includes("Cut it"))],
  [/\/audio\/(?:transcriptions|translations)$/, transcript],
  [/^\/v1\/speech-to-text$/, (form) => ({ language_code: "en", text: heard(form.files[0]), audio_duration_secs: N_SECONDS, words: [{ type: "word", text: "Heard", start: 0, end: 1.5 }] })],
  [
    /^\/v1\/listen$/,
    (sound) => {
      const words = [{ word: "Heard", start: 0, end: 1.5 }];
      const channels = [{ detected_language: "en", alternatives: [{ transcript: heard({ bytes: sound }), words }] }];
      return { metadata: { duration: N_SECONDS }, results: { channels } };
    },
  ],
  [/\/moderations$/, moderation],
  [/^\/v1\/rerank$/, (body) => ranked(body.model.startsWith("rerank-2") ? "data" : "results", { model: body.model, usage: { total_tokens: N_TEXT } })(body)],
];

// Claude on Vertex and OpenAI's completions are aimock's messages and chat under other names; Mistral's chat is nearly OpenAI's.
function asAimockHasIt(path, body) {
  const claude = path.match(/\/publishers\/anthropic\/models\/([^/:]+):(?:raw|streamRaw)Predict$/);
  if (claude) return { path: "/v1/messages", body: { model: decodeURIComponent(claude[1]), ...body } };
  if (path.endsWith("/v1/completions")) {
    const { prompt, ...rest } = body;
    return { path: "/v1/chat/completions", body: { ...rest, messages: [{ role: "user", content: prompt }] }, told: asCompletion };
  }
  if (body?.stream && String(body.model).startsWith("mistral")) {
    return { path, body: { ...body, stream_options: { include_usage: true } }, told: asMistralStreams() };
  }
  return null;
}

// Mistral tells the usage of a stream unasked, and a call in it whole, where the stream ends.
function asMistralStreams() {
  const calls = [];
  return (line) => {
    if (!line.startsWith("data: {")) return line;
    const event = JSON.parse(line.slice(6));
    const [choice] = event.choices;
    for (const piece of choice?.delta?.tool_calls ?? []) {
      const call = (calls[piece.index] ??= { id: piece.id, index: piece.index, function: { name: "", arguments: "" } });
      call.function.name += piece.function.name ?? "";
      call.function.arguments += piece.function.arguments ?? "";
    }
    if (choice?.delta?.tool_calls) choice.delta = { content: "" };
    if (choice?.finish_reason === "tool_calls") choice.delta = { content: "", tool_calls: calls };
    return `data: ${JSON.stringify(event)}`;
  };
}

// A line of a chat answer, or all of it, as one of a completion.
function asCompletion(line) {
  const [, prefix, data] = line.match(/^(data: )?(.*)$/s);
  if (!data.startsWith("{")) return line;
  const told = JSON.parse(data);
  if (!told.choices) return line;
  const choices = told.choices.map(({ index, delta, message, finish_reason }) => ({
    index,
    text: (delta ?? message).content ?? "",
    logprobs: null,
    finish_reason: finish_reason ?? null,
  }));
  return (prefix ?? "") + JSON.stringify({ ...told, object: "text_completion", choices });
}

let record = [];

const recorder = http.createServer(async (request, response) => {
  if (request.url === "/__record") {
    if (request.method === "DELETE") record = [];
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify(record));
  }
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const entry = { method: request.method, path: request.url, headers: request.headers, body: await parse(request.headers, body), status: null, ended: null };
  record.push(entry);
  response.on("close", () => (entry.ended = response.writableFinished ? "whole" : "hung up"));
  const path = request.url.split("?")[0];
  const ours = OURS.find(([form]) => form.test(path));
  if (ours) return answerAsOurs(path, ours[1], entry, response);
  const renamed = asAimockHasIt(path, entry.body);
  const asked = renamed ? Buffer.from(JSON.stringify(renamed.body)) : body;
  const headers = { ...request.headers, host: target.host, "content-length": String(asked.length) };
  const vendor = VENDORS.find(({ path }) => request.url.startsWith(path));
  // A connection each: one that rested may be closed by aimock just as it is used again.
  const onto = { host: target.hostname, port: target.port, agent: false };
  const options = { ...onto, method: request.method, path: renamed?.path ?? request.url, headers };
  const onward = http.request(options, (answer) => {
    entry.status = answer.statusCode;
    answer.on("error", () => response.destroy());
    const { "content-length": _, ...rest } = answer.headers;
    if (path.startsWith("/model/") && answer.statusCode >= 400) return refuseAsAws(answer, rest, response);
    const pack = answer.statusCode === 200 && PACKERS.find(([end]) => path.endsWith(end))?.[1];
    if (pack) {
      response.writeHead(200, rest);
      return repack(answer, response, pack);
    }
    if (!vendor && !renamed?.told) {
      response.writeHead(answer.statusCode, answer.headers);
      return answer.pipe(response);
    }
    response.writeHead(answer.statusCode, rest);
    answer.setEncoding("utf8");
    if (vendor) {
      answer.on("data", (text) => response.write(vendor.put_right(text)));
      return answer.on("end", () => response.end());
    }
    let line = "";
    answer.on("data", (text) => {
      const lines = (line + text).split("\n");
      line = lines.pop();
      if (lines.length) response.write(lines.map((whole) => `${renamed.told(whole)}\n`).join(""));
    });
    answer.on("end", () => response.end(line && renamed.told(line)));
  });
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  onward.end(asked);
});

// WebSockets are recorded by their handshake and handed on as bytes.
recorder.on("upgrade", (request, socket, head) => {
  const entry = { method: request.method, path: request.url, headers: request.headers, body: null, status: 101, ended: null };
  record.push(entry);
  const onward = net.connect(Number(target.port), target.hostname, () => {
    const lines = [`GET ${request.url} HTTP/1.1`, `host: ${target.host}`];
    for (const [name, value] of Object.entries(request.headers)) if (name !== "host") lines.push(`${name}: ${value}`);
    onward.write(`${lines.join("\r\n")}\r\n\r\n`);
    onward.write(head);
    onward.pipe(socket).pipe(onward);
  });
  for (const [one, other] of [[socket, onward], [onward, socket]]) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
  }
  socket.on("close", () => (entry.ended = "hung up"));
});

// AWS packs what a model says in its own form as base64 into its frames, and tells of no start but that of a tool; aimock puts
// it there bare, and tells of every start.
const PACKERS = [
  ["/invoke-with-response-stream", (payload) => ({ bytes: payload.toString("base64") })],
  [
    "/converse-stream",
    (payload) => {
      const said = JSON.parse(payload);
      return "start" in said && !said.start.toolUse ? null : said;
    },
  ],
];

function repack(answer, response, pack) {
  let held = Buffer.alloc(0);
  answer.on("data", (chunk) => {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 4 && held.length >= held.readUInt32BE(0)) {
      const frame = held.subarray(0, held.readUInt32BE(0));
      held = held.subarray(frame.length);
      const headers = frame.subarray(12, 12 + frame.readUInt32BE(4));
      const packed = pack(frame.subarray(12 + headers.length, frame.length - 4));
      if (packed) response.write(frameOf(headers, Buffer.from(JSON.stringify(packed))));
    }
  });
  answer.on("end", () => response.end());
}

function frameOf(headers, payload) {
  const frame = Buffer.alloc(16 + headers.length + payload.length);
  frame.writeUInt32BE(frame.length, 0);
  frame.writeUInt32BE(headers.length, 4);
  frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8);
  headers.copy(frame, 12);
  payload.copy(frame, 12 + headers.length);
  frame.writeUInt32BE(crc32(frame.subarray(0, frame.length - 4)), frame.length - 4);
  return frame;
}

// AWS says in a header what kind of error it is.
async function refuseAsAws(answer, headers, response) {
  const kinds = { 400: "ValidationException", 500: "InternalServerException" };
  const chunks = [];
  for await (const chunk of answer) chunks.push(chunk);
  const { message } = JSON.parse(Buffer.concat(chunks)).error;
  response.writeHead(answer.statusCode, { ...headers, "x-amzn-errortype": kinds[answer.statusCode] ?? "ServiceException" });
  response.end(JSON.stringify({ message }));
}

async function answerAsOurs(path, tell, entry, response) {
  const { files, ...said } = typeof entry.body === "string" ? { files: [{ bytes: entry.body }] } : entry.body;
  const sent = [JSON.stringify(said), ...(files ?? []).map(({ bytes }) => Buffer.from(bytes, "base64").toString("latin1"))];
  const trouble = TROUBLE.find(([words]) => sent.some((text) => text.includes(words)));
  const told = trouble ? asVendorRefuses(path, trouble[1], trouble[2]) : tell(entry.body);
  entry.status = trouble?.[1] ?? 200;
  if (told instanceof Spoken) return told.tell(response);
  response.writeHead(entry.status, { "content-type": told.type && told.text !== undefined ? told.type : "application/json" });
  response.end(told.type && told.text !== undefined ? told.text : JSON.stringify(told));
}

// JSON as it is, a form as its fields and files, anything else as base64.
async function parse(headers, body) {
  if (headers["content-type"]?.startsWith("multipart/form-data")) {
    const form = await new Response(body, { headers: { "content-type": headers["content-type"] } }).formData();
    const told = { files: [] };
    for (const [name, value] of form) {
      if (typeof value === "string") told[name] = value;
      else told.files.push({ name, file: value.name, bytes: Buffer.from(await value.arrayBuffer()).toString("base64") });
    }
    return told;
  }
  try {
    return JSON.parse(body.toString());
  } catch {
    return body.toString("base64");
  }
}

// Vendors let connections rest for longer than the gateway does, and so are not the ones to close them.
recorder.keepAliveTimeout = 300_000;
recorder.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${recorder.address().port}` }));
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
