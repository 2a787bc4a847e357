"""The pages that Prometheus scrapes: there, and ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from gpuwarden.cli.checks.found import Found, absent, ok, wrong
from gpuwarden.cli.checks.own_tls import context_of
from gpuwarden.cli.checks.place import Place
from gpuwarden.core.address import Address
from gpuwarden.core.config import ConfigError

PATIENCE_S: Final = 0.6  # up to three pages share the check's time
LARGEST_BYTES: Final = 16 << 20


def check(place: Place) -> Iterator[Found]:
    pages = place.metrics_pages()
    if not pages:
        yield absent("no configuration here has metrics_listen")
    for daemon, (listen, tls_dir) in pages.items():
        yield _page(daemon, listen.nearby, tls_dir)


def _page(daemon: str, address: Address, tls_dir: Path | None) -> Found:
    url, then = f"{'http' if tls_dir is None else 'https'}://{address}/metrics", f"systemctl status gpuwarden-{daemon}"
    try:
        with urlopen(url, timeout=PATIENCE_S, context=None if tls_dir is None else context_of(tls_dir)) as answer:
            lines = answer.read(LARGEST_BYTES).decode(errors="replace").splitlines()
    except ConfigError as why:
        return wrong(f"no way to {url} of the {daemon}: {why}", f"ls -l {tls_dir}")
    except (URLError, OSError, ValueError) as why:
        return wrong(f"{url} of the {daemon} does not answer: {getattr(why, 'reason', why)}", then)
    if not any(line.startswith("gpuwarden_build_info{") and f'part="{daemon}"' in line for line in lines):
        return wrong(f"{url} answers, but it is not the {daemon}'s page", f"ss -ltnp 'sport = :{address.port}'")
    return ok(f"{url} of the {daemon} has {sum(not line.startswith('#') for line in lines)} values")
