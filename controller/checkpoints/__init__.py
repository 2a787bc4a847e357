"""The kinds of checkpoints that are known by what lies on disk. One is a file here and a line in this table."""

from collections.abc import Mapping
from typing import Final

from gpuwarden.controller.checkpoints import dcp, manifest
from gpuwarden.controller.checkpoints.checkpoint import Kind

KINDS: Final[Mapping[str, Kind]] = {"dcp": Kind(dcp.MARKER, dcp.look), "manifest": Kind(manifest.MARKER, manifest.look)}
