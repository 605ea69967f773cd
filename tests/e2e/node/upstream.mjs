// Runs @copilotkit/aimock as the upstream of every provider, behind a recorder.
//
// The recorder keeps what aimock does not: raw bodies, the headers that arrived, and whether the caller hung up. Prints one
// line of JSON when ready: {"url"}. `GET /__record` gives what was seen, `DELETE /__record` forgets it. Ends with stdin.

import http from "node:http";
import net from "node:net";
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
mock.onEmbedding(/.*/, { embedding: [0.25, -0.5, 0.125] });
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
  if (request.url.startsWith("/v1/messages/count_tokens")) {
    // aimock has no token counter; the answer only has to be recognisable.
    entry.status = 200;
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify({ input_tokens: 4242 }));
  }
  const asked = asTheVendorReadsIt(entry.body) ?? body;
  const headers = { ...request.headers, host: target.host, "content-length": String(asked.length) };
  const put_right = VENDORS.find(({ path }) => request.url.startsWith(path))?.put_right;
  const options = { host: target.hostname, port: target.port, method: request.method, path: request.url, headers };
  const onward = http.request(options, (answer) => {
    entry.status = answer.statusCode;
    answer.on("error", () => response.destroy());
    if (!put_right) {
      response.writeHead(answer.statusCode, answer.headers);
      return answer.pipe(response);
    }
    const { "content-length": _, ...rest } = answer.headers;
    response.writeHead(answer.statusCode, rest);
    answer.setEncoding("utf8");
    answer.on("data", (text) => response.write(put_right(text)));
    answer.on("end", () => response.end());
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
