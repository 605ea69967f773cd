"""An upstream that runs batches: OpenAI's files and batches, Anthropic's message batches, Gemini's of a file, each done at once.

Every line uses 1,000 tokens in and 100 out. Prints one line of JSON when ready: {"url"}. `GET /__record` gives what arrived. Ends
with its standard input.
"""

import email
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILES, BATCHES, MESSAGE_BATCHES, GEMINI_BATCHES, RECORD = {}, {}, {}, {}, []
TIME = 1_795_390_000


def file_object(name):
    size = len(FILES[name])
    return {"id": name, "object": "file", "bytes": size, "created_at": TIME, "filename": "b.jsonl", "purpose": "batch",
            "status": "processed"}


def answer_line(number, line):
    message = {"role": "assistant", "content": "hi"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    body = {"id": f"c{number}", "object": "chat.completion", "created": TIME, "model": line["body"]["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    response = {"status_code": 200, "request_id": f"r{number}", "body": body}
    return {"id": f"l{number}", "custom_id": line["custom_id"], "response": response, "error": None}


def jsonl(lines):
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def read(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def give(self, body, status=200):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def gemini_batch(self, name):
        at = "2026-11-22T20:00:00Z"
        metadata = {"model": "models/" + GEMINI_BATCHES[name], "state": "BATCH_STATE_SUCCEEDED", "createTime": at, "endTime": at}
        return {"name": f"batches/{name}", "metadata": metadata, "done": True, "response": {"responsesFile": f"files/{name}-out"}}

    def message_batch(self, name):
        requests = MESSAGE_BATCHES[name]
        counts = {"processing": 0, "succeeded": len(requests), "errored": 0, "canceled": 0, "expired": 0}
        host, port = self.server.server_address
        return {"id": name, "type": "message_batch", "processing_status": "ended", "request_counts": counts,
                "created_at": "2026-11-22T19:00:00Z", "ended_at": "2026-11-22T20:00:00Z", "expires_at": "2026-11-23T19:00:00Z",
                "archived_at": None, "cancel_initiated_at": None,
                "results_url": f"http://{host}:{port}/v1/messages/batches/{name}/results"}

    def do_POST(self):
        body, path = self.read(), self.path.split("?")[0]
        RECORD.append({"path": path, "headers": dict(self.headers.items()), "body": body.decode()})
        if path in ("/v1/files", "/upload/v1beta/files"):
            head = b"content-type: " + self.headers["content-type"].encode() + b"\r\n\r\n"
            parts = email.message_from_bytes(head + body).get_payload()
            held = [part for part in parts if part.get_param("name", header="content-disposition") == "file"]
            name = f"file-up{len(FILES)}"
            FILES[name] = held[0].get_payload(decode=True)
            if path.startswith("/upload"):
                return self.give({"file": {"name": f"files/{name}", "sizeBytes": str(len(FILES[name])), "state": "ACTIVE"}})
            return self.give(file_object(name))
        wanted = json.loads(body)
        if path == "/v1/batches":
            lines = [json.loads(line) for line in FILES[wanted["input_file_id"]].splitlines() if line]
            name, output = f"batch_up{len(BATCHES)}", f"file-up{len(FILES)}"
            FILES[output] = jsonl(answer_line(number, line) for number, line in enumerate(lines))
            counts = {"total": len(lines), "completed": len(lines), "failed": 0}
            BATCHES[name] = {"id": name, "object": "batch", "endpoint": wanted["endpoint"], "errors": None,
                             "input_file_id": wanted["input_file_id"], "completion_window": "24h", "status": "completed",
                             "output_file_id": output, "error_file_id": None, "created_at": TIME, "in_progress_at": TIME + 1,
                             "finalizing_at": TIME + 2, "completed_at": TIME + 3, "expires_at": TIME + 86_400,
                             "request_counts": counts, "metadata": wanted.get("metadata")}
            return self.give(BATCHES[name])
        if path == "/v1/messages/batches":
            name = f"msgbatch_up{len(MESSAGE_BATCHES)}"
            MESSAGE_BATCHES[name] = wanted["requests"]
            return self.give(self.message_batch(name))
        if path.endswith(":batchGenerateContent"):
            name, source = f"b-up{len(GEMINI_BATCHES)}", wanted["batch"]["input_config"]["file_name"].removeprefix("files/")
            GEMINI_BATCHES[name] = path.split("/")[-1].split(":")[0]
            lines = [json.loads(line) for line in FILES[source].splitlines() if line]
            FILES[f"{name}-out"] = jsonl(self.generated(name, line) for line in lines)
            return self.give(self.gemini_batch(name))
        self.give({"error": {"message": f"nothing is at {path}"}}, 404)

    @staticmethod
    def generated(batch, line):
        said = line["request"]["contents"][0]["parts"][0]["text"]
        content = {"role": "model", "parts": [{"text": f"{said} yourself"}]}
        usage = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100}
        answer = {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "usageMetadata": usage,
                  "modelVersion": GEMINI_BATCHES[batch], "responseId": "r-up"}
        return {"key": line["key"], "response": answer}

    def do_GET(self):
        path = self.path.split("?")[0]
        match path.split("/")[1:]:
            case ["__record"]:
                self.give(RECORD)
            case ["v1beta", "batches", name] if name in GEMINI_BATCHES:
                self.give(self.gemini_batch(name))
            case ["download", "v1beta", "files", name] if name.removesuffix(":download") in FILES:
                self.give(FILES[name.removesuffix(":download")])
            case ["v1", "files", name, "content"] if name in FILES:
                self.give(FILES[name])
            case ["v1", "files", name] if name in FILES:
                self.give(file_object(name))
            case ["v1", "batches", name] if name in BATCHES:
                self.give(BATCHES[name])
            case ["v1", "messages", "batches", name, "results"] if name in MESSAGE_BATCHES:
                self.give(jsonl(self.result(request) for request in MESSAGE_BATCHES[name]))
            case ["v1", "messages", "batches", name] if name in MESSAGE_BATCHES:
                self.give(self.message_batch(name))
            case _:
                self.give({"error": {"message": f"nothing is at {path}"}}, 404)

    @staticmethod
    def result(request):
        usage = {"input_tokens": 1000, "output_tokens": 100}
        message = {"id": "msg_up", "type": "message", "role": "assistant", "model": request["params"]["model"],
                   "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
        return {"custom_id": request["custom_id"], "result": {"type": "succeeded", "message": message}}

    def do_DELETE(self):
        name = self.path.split("/")[-1]
        FILES.pop(name, None)
        self.give({"id": name, "object": "file", "deleted": True})


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
    sys.stdin.read()
