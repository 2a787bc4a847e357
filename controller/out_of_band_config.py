"""How nodes' BMCs are reached, and what may be done through them: as the operator writes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.core.address import Address
from gpuwarden.core.config import option

NODE: Final = "{node}"
MODES: Final = ("observe", "auto")


@dataclass(frozen=True, slots=True)
class OutOfBandConfig:
    """The actuator redfish: limits of whole nodes, and power off as the last resort. Two classes of action, each with its mode."""

    url: str = option("https://host[:port] of a node's BMC; {node} stands for its name")
    user: str = option("an account that may set limits and power (role Operator)")
    password_file: Path = option("file with the password and nothing else, for its owner only")
    nodes: tuple[str, ...] = option("nodes that may be reached so; `gpu[01-64]` is a range; without them all", default=())
    mode: str = option("of limits: observe (the ledger says what would be done) or auto", default="observe")
    power_off_mode: str = option("of power off, where a limit could not be set and a breaker may not hold: observe or auto", default="observe")
    ca_file: Path | None = option("certificates (PEM) that vouch for the BMCs'; none: the system's", default=None)
    verify: bool = option("false: the password goes to whoever answers at the address", default=True)

    def problems(self) -> Iterator[str]:
        """What cannot be, each with its key."""
        for key, mode in (("mode", self.mode), ("power_off_mode", self.power_off_mode)):
            if mode not in MODES:
                yield f"{key}: is {mode!r}, should be {' or '.join(MODES)}"
        if self.power_off_mode == "auto" != self.mode:
            yield "power_off_mode: is auto where limits are not: power off is the last resort, after a limit that could not be set"
        try:
            expand(self.nodes)
        except BadHostlist as why:
            yield f"nodes: {why}"
        if not self.user or ":" in self.user:
            yield f"user: is {self.user!r}, should be a name without a colon"
        if self.ca_file is not None and not self.verify:
            yield "ca_file: is of no use with verify = false"
        yield from self._url_problems()

    def _url_problems(self) -> Iterator[str]:
        if NODE not in self.url:
            yield f"url: is {self.url!r}, should have {NODE} in it: every node has a BMC of its own"
        try:
            url = urlsplit(self.of("node"))
            host, port = url.hostname or "", url.port
        except ValueError as why:
            yield f"url: {why}"
            return
        if url.username is not None or url.password is not None:
            yield "url: holds a user or password, which belong into user and password_file"
        elif url.scheme not in ("http", "https") or not host or url.path not in ("", "/") or url.query or url.fragment:
            yield f"url: is {self.url!r}, should be https://host or https://host:port"
        elif url.scheme == "http" and not Address(host, port or 80).loopback:
            yield f"url: is {self.url!r}, should be https: the password would be there for all to read"

    def of(self, node: str) -> str:
        return self.url.replace(NODE, node)
