"""Where fetched and built servers are kept between runs: one folder for each state of what names them."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cached(name: str, recipe: bytes, fill: Callable[[Path], None]) -> Path:
    """The folder of `name` made after `recipe`; `fill(folder)` makes it if it is not there yet.

    It is filled under another name and then renamed, so that a folder that exists is whole. Of two runs at once the
    first one wins.
    """
    folder = _root() / f"{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            fill(made)
            _rename(made, folder)
    return folder


def _rename(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise


def _root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "gpuwarden"
