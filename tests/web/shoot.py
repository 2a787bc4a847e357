"""Pictures of the page for the documents: `python tests/web/shoot.py [--url http://127.0.0.1:8080/]`.

Without a URL it plays a scene of its own, and for the pictures of a login and of a change it runs a controller with twelve
limiters. A picture larger than 300 kB is an error.
"""

import argparse
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

TESTS = Path(__file__).resolve().parents[1]
MOST_BYTES = 300_000


@dataclass(frozen=True)
class Shot:
    name: str
    theme: str
    width: int
    height: int
    scale: float = 1.0
    full: bool = False
    # What is done first: "", look at a finding, log in, or change.
    act: str = ""


SHOTS = (
    Shot("page", "dark", 1280, 800),
    Shot("page-light", "light", 1280, 800),
    Shot("page-phone", "dark", 390, 844),
    Shot("page-phone-full", "light", 390, 844, full=True),
    Shot("page-wall", "dark", 1600, 900),
    Shot("page-finding", "dark", 390, 560, act="look"),
)
ACTED = (
    Shot("page-login", "light", 390, 700, act="log in"),
    Shot("page-change", "dark", 1200, 720, act="change"),
)


@contextmanager
def opened(url: str | None, scene: str) -> Iterator[str]:
    if url is not None:
        yield url
        return
    from web.snapshots import SCENES
    from web.stage import playing

    with playing(SCENES[scene], step_s=1.0) as page:
        yield page.url


def take(browser: Browser, url: str, shot: Shot, wait_s: float) -> bytes:
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=shot.scale,
        color_scheme="dark" if shot.theme == "dark" else "light",
        is_mobile=shot.width < 600,
    )
    page = context.new_page()
    page.goto(url)
    page.locator("#nodes .tile").first.wait_for()
    page.wait_for_timeout(wait_s * 1000)
    act(page, shot.act)
    picture = page.screenshot(full_page=shot.full, animations="disabled")
    context.close()
    return packed(picture)


@contextmanager
def controlled() -> Iterator[str]:
    """A controller with limiters under load; ada may change its budget."""
    from fakes.limiters import Limiter
    from web.crew import working
    from web.door import controlling, page_config

    nodes = tuple(f"node-{number:02}" for number in range(12))
    limiters = [Limiter(node, demand_w=3600.0 + 190 * number) for number, node in enumerate(nodes)]
    with tempfile.TemporaryDirectory() as folder:
        config = page_config(Path(folder), rating_w=96e3, nodes=nodes)
        with controlling(config) as shell, working(shell, *limiters):
            assert shell.page_url is not None
            yield shell.page_url


def act(page: Page, what: str) -> None:
    if what == "look":
        page.locator(".trend").evaluate("one => one.parentElement.scrollIntoView({ block: 'center' })")
    if what in ("", "look"):
        return
    page.get_by_role("button", name="log in", exact=True).click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("analytical engine")
    if what == "change":
        page.keyboard.press("Enter")
        page.locator(".change").click()
        page.get_by_label("Budget in kW").fill("80")
        page.keyboard.press("Enter")
        page.locator("#change-told li").first.wait_for()


def packed(png: bytes) -> bytes:
    """The same picture; the browser packs in haste."""
    head, at, pixels, rest = png[:8], 8, b"", []
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size
        if kind == b"IDAT":
            pixels += content
        else:
            rest.append(_chunk(kind, content))
    return b"".join([head, *rest[:-1], _chunk(b"IDAT", zlib.compress(zlib.decompress(pixels), 9)), rest[-1]])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a page that runs already")
    parser.add_argument("--scene", default="findings", help="without --url: which scene of snapshots.py")
    parser.add_argument("--wait", type=float, default=3.0, help="seconds to let the page run before each picture")
    parser.add_argument("--only", help="the name of one picture")
    parser.add_argument("--out", type=Path, default=TESTS.parent / "docs" / "images")
    args = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    from services import chromium

    args.out.mkdir(parents=True, exist_ok=True)
    too_large = []
    with opened(args.url, args.scene) as url, controlled() as acted_url, chromium.running() as browser:
        for shot in SHOTS + ACTED:
            if args.only in (None, shot.name):
                picture = take(browser, acted_url if shot in ACTED else url, shot, args.wait)
                (args.out / f"{shot.name}.png").write_bytes(picture)
                print(f"{shot.name}.png: {len(picture):,} bytes")
                too_large += [shot.name] if len(picture) > MOST_BYTES else []
    if too_large:
        print(f"larger than {MOST_BYTES:,} bytes: {', '.join(too_large)}", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
