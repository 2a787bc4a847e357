"""Findings that fired when the detector before this one ended: fired on, under their id, or resolved, but never left behind."""

from collections.abc import Iterator, Mapping
from typing import Final

from gpuwarden.detector.events import PublishFinding
from gpuwarden.detector.findings import Findings, Key
from gpuwarden.detector.node import Node
from gpuwarden.proto.finding_pb2 import Finding

PROVE_S: Final = 120.0  # what is still so has fired again by then; models need minutes, and theirs are hints only


class Adopted:
    """Those that have neither fired again nor ended yet. Only for nodes that this detector hears: others have theirs."""

    def __init__(self, findings: Findings, payloads: tuple[bytes, ...]) -> None:
        self._findings = findings
        self._of_node: dict[str, dict[Key, Finding]] = {}
        for payload in payloads:
            finding = Finding.FromString(payload)
            key = finding.subject.node, finding.subject.id, finding.kind
            self._of_node.setdefault(finding.subject.node, {})[key] = finding

    def take_up(self, node: Node) -> tuple[Finding, ...]:
        """A node is heard for the first time: its findings are ours now."""
        mine = self._of_node.get(node.name, {})
        for finding in mine.values():
            self._findings.adopt(finding)
        return tuple(mine.values())

    def proven(self, now_s: float, nodes: Mapping[str, Node], unix_ns: int) -> Iterator[PublishFinding]:
        """Ends those whose nodes had time enough to show it, and did not."""
        over = [name for name in self._of_node if name in nodes and now_s - nodes[name].joined_s >= PROVE_S]
        for name in over:
            for key in self._of_node.pop(name):
                if self._findings.is_adopted(key):
                    yield from self._findings.resolve(key, unix_ns)
