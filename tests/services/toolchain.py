"""What servers are built with: whether this machine has it, new enough."""

import re
import shutil
import subprocess
from collections.abc import Sequence


def lacks(server: str, program: str, version: Sequence[str], oldest: tuple[int, int]) -> str:
    """A sentence of what is missing to build `server`; '' where it is there. `version` is the command that prints which one it is."""
    needed = ".".join(map(str, oldest))
    wanted = f"{server} is built with {program} {needed} or newer"
    if shutil.which(program) is None:
        return f"{wanted}, which is not on the PATH"
    said = subprocess.run(version, check=False, capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or tuple(map(int, found.groups())) < oldest:
        return f"{wanted}, and this is {said.strip() or 'none that runs'}"
    return ""
