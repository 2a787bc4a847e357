"""Small functions, small files, few broad handlers, no name that says nothing."""

import ast
import re
import statistics
import tokenize
from pathlib import Path

import pytest
from house import PRODUCT, ROOT, functions, modules, parsed

PATHS = [*modules(*PRODUCT), *modules("bench")]
VAGUE = re.compile(r"(^|_)(manager|helpers?|utils?|common|base|misc|stuff|handlers?)(_|$)", re.IGNORECASE)
VAGUE_CLASS = re.compile(r"(Manager|Helper|Util|Utils|Common|Base|Handler|Info|Data)$")
# A generic wildcard ignore hides whatever comes next; each names its rule and says why.
IGNORE = re.compile(r"#\s*(noqa|type:\s*ignore)")
REASONED = re.compile(r"#\s*(noqa: [A-Z0-9, ]+ - \S|type:\s*ignore\[[a-z, -]+\]\s+#\s+\S)")


def test_functions_are_short() -> None:
    sizes = {f"{p.relative_to(ROOT)}: {f.name}": f.end_lineno - f.lineno + 1 for p in PATHS for f in functions(p) if f.end_lineno}
    assert {name: size for name, size in sizes.items() if size > 40} == {}
    assert statistics.median(sizes.values()) <= 9


def test_files_are_short() -> None:
    sizes = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8").count("\n") for p in PATHS}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
    assert statistics.median(sizes.values()) <= 120


def broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(k is None or (isinstance(k, ast.Name) and k.id in ("Exception", "BaseException")) for k in kinds)


def test_only_one_collector_one_action_and_one_session_are_fenced_with_a_broad_except() -> None:
    found = [
        f"{p.relative_to(ROOT)}:{n.lineno}" for p in PATHS for n in ast.walk(parsed(p)) if isinstance(n, ast.ExceptHandler) and broad(n)
    ]
    assert len(found) <= 3, found


@pytest.mark.parametrize("path", PATHS, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_say_something(path: Path) -> None:
    assert not VAGUE.search(path.stem)
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ClassDef):
            assert not VAGUE_CLASS.search(node.name), node.name


def test_each_ignore_says_why() -> None:
    for path in [*PATHS, *modules("tests")]:
        with path.open("rb") as source:
            for token in tokenize.tokenize(source.readline):
                if token.type == tokenize.COMMENT and IGNORE.search(token.string):
                    assert REASONED.search(token.string), f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}"
