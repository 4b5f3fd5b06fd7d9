"""A scoring service with faults: `python -m onnx_pipeline_tests.engines.fault_server '{"faults": [...]}'`.

Computes score = 1 + 2·a - 0.5·b by numpy, from Arrow or from `{"data": [records]}`. The first requests meet the listed
faults in turn, all later ones `then`. Prints its port, then one JSON line per request. PUT /<name> with another plan
makes /<name>/... a service of its own, so that one process serves many tests.
"""

import http.server
import json
import socket
import ssl
import struct
import sys
import threading
import time

import numpy as np
import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"


class Plan:
    """What each request meets."""

    def __init__(self, given, name=""):
        self.name = name
        self.faults = list(given.get("faults", []))
        self.then = given.get("then", "none")
        self.sha256 = given.get("sha256")
        self.key = given.get("key")
        self.tls = given.get("tls")
        self.most_bytes = given.get("most_bytes")
        self.lock = threading.Lock()
        self.under_way = 0
        self.started = time.monotonic()

    def next(self):
        with self.lock:
            return self.faults.pop(0) if self.faults else self.then

    def say(self, **facts):
        with self.lock:
            sys.stdout.write(json.dumps({"at": time.monotonic() - self.started, "name": self.name, **facts}) + "\n")
            sys.stdout.flush()


def score(a, b):
    return (1 + 2 * a - np.float32(0.5) * b).astype(np.float32)


def arrow_answer(body, fault):
    table = pa.ipc.open_stream(body).read_all()
    scores = score(*(table.column(name).to_numpy() for name in ("a", "b")))
    columns = {"score": pa.array(scores)}
    if fault == "short":
        columns = {"score": pa.array(scores[:-1])}
    elif fault == "long":
        columns = {"score": pa.array(np.append(scores, scores[:1]))}
    elif fault == "other column":
        columns = {"points": pa.array(scores)}
    elif fault == "other type":
        columns = {"score": pa.array([str(value) for value in scores])}
    elif fault == "doubles":
        columns = {"score": pa.array(scores.astype(np.float64))}
    elif fault == "nan":
        scores[3] = np.nan
        columns = {"score": pa.array(scores)}
    sink = pa.BufferOutputStream()
    answer = pa.table(columns)
    with pa.ipc.new_stream(sink, answer.schema) as writer:
        writer.write_table(answer)
    return sink.getvalue().to_pybytes()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    plans: dict
    counted = False

    def do_PUT(self):
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = self.path.strip("/")
        self.plan = self.plans[name] = Plan(given, name)
        self.send(200, b"{}")

    def do_POST(self):
        self.plan = self.plans.get(self.path.split("/")[1]) or self.plans[""]
        plan, fault = self.plan, self.plan.next()
        length = int(self.headers["content-length"])
        with plan.lock:
            plan.under_way += 1
            beside = plan.under_way
        self.counted = True
        try:
            if fault == "cut the request":
                self.rfile.read(length // 2)
                self.reset()
                return
            body = self.rfile.read(length)
            plan.say(fault=fault, bytes=length, beside=beside, headers={k.lower(): v for k, v in self.headers.items()})
            self.answer(fault, body)
        finally:
            self.leave()

    def leave(self):
        """No longer under way: before its answer is sent, since the next request may come at once."""
        if self.counted:
            self.counted = False
            with self.plan.lock:
                self.plan.under_way -= 1

    def do_GET(self):
        self.plan = self.plans[""]
        self.plan.say(path=self.path)
        self.send(404, b"{}")

    def answer(self, fault, body):
        plan = self.plan
        kind, _, detail = fault.partition(":")
        if plan.most_bytes is not None and len(body) > plan.most_bytes:
            self.send(413, b'{"error": "too large"}')
        elif plan.key is not None and self.headers.get("x-functions-key") != plan.key:
            # As careless services do, it repeats what it was sent.
            self.send(401, json.dumps({"error": f"bad key {self.headers.get('x-functions-key')}"}).encode())
        elif kind == "status":
            status, _, wait = detail.partition(" ")
            self.send(int(status), b'{"error": "as planned"}', {"retry-after": wait} if wait else {})
        elif kind == "redirect":
            self.send(307, b"", {"location": detail})
        elif kind == "silent":
            time.sleep(float(detail))
        elif kind == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            for _ in range(int(float(detail) / 0.05)):
                self.wfile.write(b"x")
                time.sleep(0.05)
            self.close_connection = True
        elif kind == "garbage":
            self.send(200, b"<html>Sign in to continue</html>")
        elif kind == "cut":
            answer = arrow_answer(body, "none")
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer))
            self.wfile.write(answer[: len(answer) // 2])
            self.reset()
        elif kind == "die":
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "model":
            self.send(200, arrow_answer(body, fault), {"x-onnx-model-sha256": detail})
        else:
            if kind == "slow":
                time.sleep(float(detail))
            if self.headers["content-type"] == ARROW:
                self.send(200, arrow_answer(body, fault))
            else:
                records = json.loads(body)["data"]
                scores = score(*(np.array([row[name] for row in records], np.float32) for name in ("a", "b")))
                self.send(200, json.dumps({"data": [{"score": value} for value in scores.tolist()]}).encode())

    def send(self, status, body, headers=()):
        self.leave()
        self.send_response(status)
        headers = dict(headers)
        if self.plan.sha256 is not None:
            headers.setdefault("x-onnx-model-sha256", self.plan.sha256)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self):
        """A reset, not an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, *_):
        """One line per request is printed already."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that went away is what is tested."""


def main():
    plan = Plan(json.loads(sys.argv[1]))
    Handler.plans = {"": plan}
    server = Server(("127.0.0.1", 0), Handler)
    if plan.tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(plan.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
