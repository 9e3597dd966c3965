"""The installed Chromium: it prints the book, weighs its pages and tests them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["ARGUMENTS", "BROWSERS", "installed", "launched"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without these, Chromium asks for updates and lists, and waits for a network that may not be there.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def installed() -> str:
    """Path of the first Chromium, or of a browser made of it; empty where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), "")


@contextmanager
def launched() -> Iterator["Browser"]:
    """Run it, without a window.

    Raises:
        SystemExit: there is none; the message says how to get one.
    """
    from playwright.sync_api import sync_playwright

    path = installed()
    if not path:
        raise SystemExit(
            f"No browser found, looked for {', '.join(BROWSERS)}: install one, on Debian and "
            "Ubuntu with apt install chromium. Reading and running the book needs none."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()
