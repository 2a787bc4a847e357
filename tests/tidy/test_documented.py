"""What an operator may write is documented, and the documents tell of nothing else."""

import re

import pytest
from house import ROOT, tracked

from gpuwarden.cli.config import CONFIGS, markdown

WORDS = re.compile("|".join(("/wo" + "rk/", "pypi" + r"\.org", "registry" + r"\.npmjs", "maven" + r"\.org")), re.IGNORECASE)


@pytest.mark.parametrize("daemon", CONFIGS)
def test_every_key_is_in_the_configuration_guide(daemon: str) -> None:
    guide = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert "\n".join(markdown(daemon)) in guide, "gpuwarden config options > docs/configuration.md"


def test_the_project_speaks_of_itself_alone() -> None:
    for path in tracked():
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".proto", ".c", ".h", ".js", ".html", ".css", ""):
            found = WORDS.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for path in tracked():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", path.read_text(encoding="utf-8")):
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"
