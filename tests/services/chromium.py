"""The browser that tests look at the page with: the system's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

# No sandbox: tests may run as root. The rest keeps the browser from calling anybody.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip


class NotInstalled(Exception):
    """There is no Chromium on this machine."""


def executable() -> Path:
    """The system's browser; Playwright's own is never downloaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise NotInstalled("chromium: is not on the PATH; python tests/services/install.py installs it")
    return Path(found)


@contextmanager
def running() -> Iterator[Browser]:
    """A headless browser. While it runs its thread has a running asyncio loop, so tests with one of their own go elsewhere."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
