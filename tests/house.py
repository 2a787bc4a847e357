"""The repository as the tidy tests read it."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("agent", "cli", "controller", "core", "detector", "proto", "sim")


@cache
def tracked() -> tuple[Path, ...]:
    """Files of the project, new ones that git does not ignore included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return tuple(ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file())


def modules(*folders: str) -> tuple[Path, ...]:
    """Python files of these top-level folders that were not generated."""
    return tuple(
        path for path in tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders and "_pb2" not in path.name
    )


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """`gpuwarden.core.seal` for core/seal.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("gpuwarden", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a module imports; of `from a import b`, both `a` and `a.b`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
