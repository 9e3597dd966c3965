"""Weigh every page of the built site, and ask Lighthouse where Node is installed.

    python book/tools/audit.py [_build/html]

The site is served as hosts do it, text compressed with gzip. Each page is opened with an empty
cache and read to its end, so that lazy pictures count; its weight is that of the files it asked
for, whole and as they were sent. Lighthouse comes from npm, at the version below; without `npx` it
is skipped, and the audit says so. Its score for performance is of use on a quiet machine only.
"""

import gzip
import http.server
import json
import mimetypes
import os
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from chromium import ARGUMENTS, installed, launched
from playwright.sync_api import Browser

__all__ = ["LIMIT", "ask_lighthouse", "compressed", "main", "pages", "served", "weigh"]

LIMIT = 1_000_000  # bytes a page, as they are sent at a first visit
LIGHTHOUSE = "lighthouse@12.8.2"  # the last that runs on Node 20
WATCHED = (
    "book/index.html",
    "chapters/04_code/02_vae.html",
    "chapters/03_loss_math/03_gradient_conflict.html",
)
WANTED = {"performance": 90, "accessibility": 100, "best-practices": 100, "seo": 100}
RUNS = 3  # the score of performance depends on what else the machine does: the median counts
_TEXT = {".html", ".css", ".js", ".json", ".svg", ".txt", ".ipynb", ".py"}


@cache
def compressed(path: Path) -> bytes:
    """What a host sends: text compressed, pictures and fonts as they are."""
    data = path.read_bytes()
    return gzip.compress(data, 6, mtime=0) if path.suffix in _TEXT else data


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder, text with gzip, and notes which."""

    protocol_version = "HTTP/1.1"
    asked: list[Path] = []  # noqa: RUF012 # one list for the whole server

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        self.asked.append(path)
        body = compressed(path)
        self.send_response(200)
        self.send_header(
            "Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream"
        )
        if path.suffix in _TEXT:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def served(site: Path) -> Iterator[tuple[str, list[Path]]]:
    """Address of a server of the folder, and the growing list of files it was asked for."""
    asked: list[Path] = []
    handler = type("Handler", (_Handler,), {"asked": asked})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(site))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def pages(site: Path) -> list[str]:
    """Every page; the first one only leads to the home page."""
    return sorted(
        path.relative_to(site).as_posix()
        for path in site.rglob("*.html")
        if "_static" not in path.parts and 'http-equiv="Refresh"' not in path.read_text("utf-8")
    )


def weigh(browser: Browser, site: Path) -> dict[str, tuple[int, int]]:
    """``{page: (bytes, bytes as sent)}`` of a first visit to each page."""
    weights = {}
    with served(site) as (root, asked):
        for name in pages(site):
            asked.clear()
            page = browser.new_page()  # with a context and thus a cache of its own
            page.goto(f"{root}/{name}", wait_until="load")
            page.evaluate("() => { for (const i of document.images) i.loading = 'eager' }")
            page.evaluate("() => window.MathJax?.startup?.promise")
            page.wait_for_load_state("networkidle")
            page.close()
            found = set(asked)
            weights[name] = (
                sum(path.stat().st_size for path in found),
                sum(len(compressed(path)) for path in found),
            )
    return weights


def ask_lighthouse(address: str, form: str) -> dict[str, float]:
    """Median scores, 0 to 100, of a page on a ``mobile`` or ``desktop`` screen.

    Raises:
        RuntimeError: Lighthouse ended without a report; its last words are the message.
    """
    command = ["npx", "--yes", LIGHTHOUSE, address, "--quiet", "--output=json"]
    command += [f"--chrome-flags=--headless {' '.join(ARGUMENTS)}"]
    command += ["--preset=desktop"] if form == "desktop" else []
    environment = os.environ | {"CHROME_PATH": installed()}
    scores: dict[str, list[float]] = {name: [] for name in WANTED}
    for _ in range(RUNS):
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
        if run.returncode:
            raise RuntimeError("".join(run.stderr.splitlines(keepends=True)[-5:]))
        categories = json.loads(run.stdout)["categories"]
        for name, found in scores.items():
            found.append(100 * (categories[name]["score"] or 0))
    return {name: statistics.median(found) for name, found in scores.items()}


def _print_weights(weights: dict[str, tuple[int, int]]) -> int:
    """The table, the heaviest first; how many are too heavy."""
    print(f"{'sent':>6} {'whole':>6}  kB at a first visit")
    for name, (whole, sent) in sorted(weights.items(), key=lambda item: -item[1][1]):
        mark = "  <- too heavy" if sent > LIMIT else ""
        print(f"{sent / 1e3:6.0f} {whole / 1e3:6.0f}  {name}{mark}")
    return sum(sent > LIMIT for _, sent in weights.values())


def _print_scores(site: Path) -> int:
    """One line a page and screen; how many are below what is wanted."""
    low = 0
    print("\n" + "  ".join(f"{name} ≥ {wanted}" for name, wanted in WANTED.items()))
    with served(site) as (root, _):
        for name in WATCHED:
            for form in ("mobile", "desktop"):
                scores = ask_lighthouse(f"{root}/{name}", form)
                missed = [title for title, wanted in WANTED.items() if scores[title] < wanted]
                mark = f"  <- {', '.join(missed)} too low" if missed else ""
                said = " ".join(f"{score:3.0f}" for score in scores.values())
                print(f"{said}  {form:7} {name}{mark}", flush=True)
                low += bool(missed)
    return low


def main(arguments: Sequence[str]) -> int:
    """Print what was found; returns the exit status."""
    site = Path(*arguments or ("_build/html",)).resolve()
    if not (site / "index.html").is_file():
        raise SystemExit(f"{site} has no index.html: build the site first, with make book")
    with launched() as browser:
        broken = _print_weights(weigh(browser, site))
    if shutil.which("npx"):
        broken += _print_scores(site)
    else:
        print("\nNo npx here, so Lighthouse was SKIPPED: install Node.js 20 or later to run it.")
    print(f"\n{broken} broken" if broken else "\nEvery limit is kept.")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
