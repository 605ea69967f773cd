// Runs @copilotkit/aimock as the upstream of every provider, behind a recorder.
//
// The recorder keeps what aimock does not: raw bodies, the headers that arrived, and whether the caller hung up. Prints one
// line of JSON when ready: {"url"}. `GET /__record` gives what was seen, `DELETE /__record` forgets it. Ends with stdin.

import http from "node:http";
import net from "node:net";
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

// Mistral tells the usage of a stream unasked.
function asTheVendorReadsIt(body) {
  if (!body?.stream || !String(body.model).startsWith("mistral")) return null;
  return Buffer.from(JSON.stringify({ ...body, stream_options: { include_usage: true } }));
}

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
  [/^\/v1\/rerank$/, (body) => ranked(body.model.startsWith("rerank-2") ? "data" : "results", { model: body.model, usage: { total_tokens: N_TEXT } })(body)],
];

// Claude on Vertex and OpenAI's completions are aimock's messages and chat under other names.
function asAimockHasIt(path, body) {
  const claude = path.match(/\/publishers\/anthropic\/models\/([^/:]+):(?:raw|streamRaw)Predict$/);
  if (claude) return { path: "/v1/messages", body: { model: decodeURIComponent(claude[1]), ...body } };
  if (path.endsWith("/v1/completions")) {
    const { prompt, ...rest } = body;
    return { path: "/v1/chat/completions", body: { ...rest, messages: [{ role: "user", content: prompt }] }, told: asCompletion };
  }
  return null;
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
  const entry = { method: request.method, path: request.url, headers: request.headers, body: parse(body), status: null, ended: null };
  record.push(entry);
  response.on("close", () => (entry.ended = response.writableFinished ? "whole" : "hung up"));
  const path = request.url.split("?")[0];
  const ours = OURS.find(([form]) => form.test(path));
  if (ours) {
    entry.status = 200;
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify(ours[1](entry.body)));
  }
  const renamed = asAimockHasIt(path, entry.body);
  const asked = renamed ? Buffer.from(JSON.stringify(renamed.body)) : asTheVendorReadsIt(entry.body) ?? body;
  const headers = { ...request.headers, host: target.host, "content-length": String(asked.length) };
  const vendor = VENDORS.find(({ path }) => request.url.startsWith(path));
  const options = { host: target.hostname, port: target.port, method: request.method, path: renamed?.path ?? request.url, headers };
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

function parse(body) {
  try {
    return JSON.parse(body.toString());
  } catch {
    return body.toString("base64");
  }
}

recorder.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${recorder.address().port}` }));
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
