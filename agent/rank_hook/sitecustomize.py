"""Imported by Python as it starts, where this folder is in PYTHONPATH. Begins to watch if this process is a rank; then the site's own file of this name has its turn."""

import importlib.util
import os
import sys
from types import ModuleType
from typing import Optional

_HERE = os.path.dirname(os.path.abspath(__file__))


def _loaded(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _next() -> Optional[str]:  # noqa: UP045 - a job's Python may be older than ours
    """The `sitecustomize.py` that this one stands before."""
    for folder in sys.path:
        file = os.path.join(folder, "sitecustomize.py")
        if os.path.abspath(folder or ".") != _HERE and os.path.isfile(file):
            return file
    return None


if __name__ == "sitecustomize":
    if (_theirs := _next()) is not None:
        _loaded("sitecustomize", _theirs)
    _words = list(getattr(sys, "orig_argv", ()))  # since Python 3.10
    if "GPUWARDEN_RANK_SOCKET" in os.environ and "--multiprocessing-fork" not in _words:
        if "RANK" in os.environ:
            _loaded("gpuwarden_rank", os.path.join(_HERE, "rank.py")).begin(os.environ)
        elif any(os.path.basename(word) in ("torchrun", "torch.distributed.run") for word in _words[1:3]):
            _loaded("gpuwarden_rank", os.path.join(_HERE, "rank.py")).begin_launcher(os.environ)
