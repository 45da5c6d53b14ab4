"""A file server on this machine that misbehaves as it is told: cuts connections, is slow, sends other bytes, says no."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What it has and how it behaves; tests change it while it runs."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    answers: list[int] = field(default_factory=list)  # codes with which the next requests are refused
    pause: float = 0.0  # seconds of silence in the middle of an answer
    ranges: bool = True  # whether it goes on where asked to
    mark: str = "etag"  # "etag", "weak", "date" or "none"
    asked: list[tuple[str, str]] = field(default_factory=list)  # path and Range of every request


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range", "")
            server.asked.append((self.path, span))
            if server.answers:
                self.send_error(server.answers.pop(0))
                return
            data = server.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            digest = hashlib.md5(data).hexdigest()
            marks = {"etag": ("ETag", f'"{digest}"'), "weak": ("ETag", f'W/"{digest}"')}
            mark = marks.get(server.mark, ("Last-Modified", "Mon, 01 Mar 2021 00:00:00 GMT"))
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
            if start and server.ranges and self.headers.get("If-Range") == mark[1]:
                if start >= len(data):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                start = 0
                self.send_response(200)
            if server.mark != "none":
                self.send_header(*mark)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            body = data[start:]
            if server.cuts:
                self.wfile.write(body[: server.cuts.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(server.pause)
            self.wfile.write(body[len(body) // 2 :])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[Server]:
    """The server while it runs."""
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever hangs up is not an error here
    server.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
