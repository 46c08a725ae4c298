"""`python -m export.serve DIR`: serve the web page of an export on this machine.

    python -m export.serve export/web --port 8000

Starts at once and answers on 127.0.0.1 only. Any static host works, too; this one also sends the headers that browsers
want before they let WebAssembly use several threads.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import sys
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.errors import UsageError, describe_error

ADDRESS = "127.0.0.1"
HEADERS = {
    # Both together allow shared memory, and so threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A new export must not meet an old page or model of the same name.
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
# Written here, because the machine's own list may lack or change them.
TYPES = {
    "": "application/octet-stream",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Answers with the files of a folder, quietly."""

    extensions_map = TYPES

    def end_headers(self):
        """Add the headers that every answer carries."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        """Print nothing for a request."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _serve, lambda _: "Stopped.")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(
        prog="python -m export.serve",
        description=f"Serve the web page of an export on {ADDRESS}, until Ctrl-C.",
    )
    result.add_argument("folder", metavar="DIR", type=Path, help="the folder web/ of `python -m export RUN_DIR --web`")
    result.add_argument(
        "--port", type=int, default=8000, metavar="N", help="port to serve on; 0: any free port (default: %(default)s)"
    )
    return result


def _serve(options: argparse.Namespace) -> None:
    if not (options.folder / "index.html").is_file():
        raise UsageError(
            f"{options.folder} has no index.html: expected the folder web/ of `python -m export RUN_DIR --web`."
        )
    handler = functools.partial(Handler, directory=str(options.folder))
    try:
        server = http.server.ThreadingHTTPServer((ADDRESS, options.port), handler)
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {options.port}: {describe_error(error)}. Choose another with --port N.") from error
    with server:
        print(f"Open http://{ADDRESS}:{server.server_port}/ in a browser. Ctrl-C stops.", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
