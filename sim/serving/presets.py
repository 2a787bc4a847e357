"""What a row may be run under: a ladder of clock locks with the paper's delays, or a policy of the controller's, by gpuwarden itself."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.controller.policies import POLICIES
from gpuwarden.controller.policies.ladder import LADDERS

IN_BAND: Final[Mapping[str, str]] = MappingProxyType({name if name not in LADDERS else f"{name}-in-band": name for name in POLICIES})
"""The policy of each preset that is one."""
