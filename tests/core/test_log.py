"""What a daemon says on standard error."""

import json
import subprocess
import sys

SCRIPT = """
import logging
from gpuwarden.core.log import log_to_stderr, say
from gpuwarden.core.machine import Level, Say
log_to_stderr()
say(Say("capped n1 to 450 W", Level.WARNING))
logging.getLogger("gpuwarden.bus").info("zwölf\\nlines")
logging.getLogger("library").info("chatter")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("gpuwarden.x").exception("it broke")
"""


def test_each_sentence_is_one_line_of_json_and_libraries_are_heard_from_warnings_on() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stderr
    lines = [json.loads(line) for line in said.splitlines()]
    assert [(line["level"], line["logger"], line["message"]) for line in lines] == [
        ("warning", "gpuwarden", "capped n1 to 450 W"),
        ("info", "gpuwarden.bus", "zwölf\nlines"),
        ("error", "gpuwarden.x", "it broke"),
    ]
    assert lines[0]["time"].endswith("+00:00")
    assert "ZeroDivisionError" in lines[2]["exception"]
