"""A browser's page, and what the browser complained of while it was open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page


@dataclass
class Witness:
    """What a browser complained of, and whom it called."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


@contextmanager
def opened(browser: Browser, url: str, width: int = 1280, height: int = 800, **more: Any) -> Iterator[tuple[Page, Witness]]:
    context, witness = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark", **more), Witness()
    page = context.new_page()
    page.on("console", lambda said: witness.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: witness.complaints.append(str(error)))
    page.on("request", lambda request: witness.hosts.add(urlsplit(request.url).netloc))
    page.goto(url)
    try:
        yield page, witness
    finally:
        context.close()
