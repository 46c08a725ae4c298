"""Made-up images in place of the real ones, and a local server in place of their publishers."""

import contextlib
import csv
import dataclasses
import http.server
import io
import json
import math
import re
import socket
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from covid_tfds.sources.manifest import Row


def disguise(rows: Sequence[Row]) -> tuple[list[Row], dict[str, bytes]]:
    """Replace the image behind each row by noise; names, labels, patients and splits stay.

    Returns the rows with the sizes and hashes of the noise, and the bytes by `image_id`.
    """
    images = {}
    changed = []
    for index, row in enumerate(rows):
        noise = np.random.default_rng(index).integers(0, 256, (40, 32), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "PNG")
        data = images[row.image_id] = buffer.getvalue()
        changed.append(
            dataclasses.replace(
                row,
                bytes=len(data),
                crc32=f"{zlib.crc32(data):08x}",
                sha256=sha256(data).hexdigest(),
                width=32,
                height=40,
                mode="L",
            )
        )
    return changed, images


def write_manifest(rows: Sequence[Row], file: Path) -> None:
    """Write rows as a manifest."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, [field.name for field in dataclasses.fields(Row)])
        writer.writeheader()
        for row in rows:
            cells = dataclasses.asdict(row).items()
            writer.writerow({name: "" if isinstance(v, float) and math.isnan(v) else v for name, v in cells})


def lay_out(rows: Sequence[Row], images: dict[str, bytes], folder: Path) -> None:
    """Put images where the manifests say: `<source>/<revision>/<path>`."""
    for row in rows:
        file = folder / row.source / row.revision / row.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(images[row.image_id])


def zipped(rows: Sequence[Row], images: dict[str, bytes]) -> bytes:
    """A zip with other names and much else in it, as Mendeley's is one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, row in enumerate(rows):
            archive.writestr(f"chest_xray/train/NORMAL/NORMAL-{index:07}-0001.jpeg", images[row.image_id])
        # Larger than what a reader of remote zips takes at once, so that members have to be fetched one by one.
        archive.writestr("OCT2017/train.bin", np.random.default_rng(0).bytes(200_000))
    return buffer.getvalue()


@dataclasses.dataclass
class Reply:
    """What the server answers: status, body and headers, or a fault further down than HTTP."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    announced: int | None = None  # Content-Length, if it is to be another than the body's
    hang: bool = False
    ranges: bool = False
    reset: bool = False  # the connection, in the middle of the body
    drip: float = 0  # seconds after each byte, those of the headers included


class Publisher(http.server.ThreadingHTTPServer):
    """Answers each path with the reply it has been given, and keeps the requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.replies: dict[str, Reply | list[Reply] | Callable[[bytes], Reply]] = {}  # a list: one after the other
        self.requests: list[str] = []
        self.closing = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self.shutdown()
        self.server_close()


class _Slow:
    """Writes byte by byte, until the server closes."""

    closed = True  # nothing is left for the handler to flush at its end

    def __init__(self, file, pause: float, closing: threading.Event):
        self._file, self._pause, self._closing = file, pause, closing

    def write(self, data: bytes) -> None:
        for byte in data:
            if not self._closing.wait(self._pause):
                self._file.write(bytes([byte]))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer(Reply())

    def do_GET(self):
        self.server.requests.append(self.path)
        self._answer(self._reply())

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(f"{self.path} {json.loads(asked)['fileName']}")
        reply = self._reply()
        self._answer(reply(asked) if callable(reply) else reply)

    def _reply(self):
        reply = self.server.replies.get(self.path, Reply(b"not found", 404))
        return reply.pop(0) if isinstance(reply, list) else reply

    def _answer(self, reply: Reply):
        if reply.hang:
            self.server.closing.wait()
            return
        body, status, headers = reply.body, reply.status, dict(reply.headers)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted and reply.ranges:
            first, last = wanted.groups()
            start = int(first) if first else max(0, len(body) - int(last))
            stop = min(int(last) + 1, len(body)) if first and last else len(body)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            body, status = body[start:stop], 206
        if reply.drip:
            self.wfile = _Slow(self.wfile, reply.drip, self.server.closing)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(reply.announced or len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if reply.reset:
            self.wfile.write(body[: len(body) // 2])
            # Closed with this option, a connection ends with a reset and not with an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif self.command != "HEAD":
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

    def log_message(self, *args):
        pass


def github_path(row) -> str:
    """Where the publisher of conftest.py has a row of GitHub's."""
    return f"/github/{row.revision}/{row.path}"
