"""The table of `gpuwarden config check controller`, as a controller's own machine prints it: without what only a terminal page needs."""

import subprocess
import sys
from pathlib import Path

CONFIG = """
ledger_file = "ledger.sqlite"
keys_dir = "keys"
[[domains]]
name = "row-a"
rating_w = 40_000
dead_nodes = 0
classes = [{ name = "h100", nodes = ["n[1-4]"] }]
limits = [
  { name = "r1", rating_w = 12_000, nodes = ["n[1-2]"], dead_nodes = 0, kind = "hard" },
  { name = "r2", rating_w = 20_000, nodes = ["n3"], dead_nodes = 0 },
  { name = "r3", rating_w = 20_000, nodes = ["n4"], dead_nodes = 0 },
]
"""
CHECK = (
    "import sys; sys.modules.update(dict.fromkeys(('rich', 'torch', 'pyarrow'), None)); "
    "from gpuwarden.cli.main import main; sys.exit(main(['config', 'check', 'controller', sys.argv[1]]))"
)


def test_each_limit_is_a_line_with_its_sums_and_alike_ones_are_one(tmp_path: Path) -> None:
    file = tmp_path / "controller.toml"
    file.write_text(CONFIG)
    done = subprocess.run([sys.executable, "-c", CHECK, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    table = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.startswith(("row-a (", "r1 (", "r2 (", "r3 ("))}
    assert table["row-a"][1:] == ["(thermal)", "40.0", "4", "(0)", "0.0", "16.6", "35.1", "35.1", "0.88", "carries", "every", "default"]
    assert table["r1"][1:] == ["(hard)", "12.0", "2", "(0)", "0.0", "8.3", "17.5", "12.0", "1.00", "hard"]
    assert "r3" in table and " and 1 alike" in done.stdout and "r2" not in table
    assert "2,300 + 1.1 x 1.05 x 8 x limit = 4,148 W at its floor of 200 W a GPU, 8,768 W at the driver's default of 700 W" in done.stdout
