"""From findings about one part to how sure we are of it, and to what would make us surer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gpuwarden.controller.isolation.signals import Harm, Nature, Scope, Signal, Sort, sort_of

NODE_WIDE: Final = (Scope.NODE, Scope.RANK)  # a rank runs on a node, on which of its parts the finding does not say


class Certainty(IntEnum):
    """Words, not a measured frequency."""

    NOTHING = 0
    HINTED = 1
    ONE_WITNESS = 2
    TWO_WITNESSES = 3
    TESTED = 4
    ORDERED = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one part of a node, or of the whole node (`part` empty). `signals` bear it out; `surer`: what would make it surer, empty if it is sure."""

    certainty: Certainty
    part: str
    signals: tuple[Signal, ...]
    harm: Harm
    surer: str

    @property
    def accuses(self) -> bool:
        """There is something that may be a reason to act."""
        return self.certainty >= Certainty.ONE_WITNESS

    @property
    def sure(self) -> bool:
        return self.certainty >= Certainty.TWO_WITNESSES

    @property
    def whole_node(self) -> bool:
        """It is as sure of the node as such: not only of a card, a port or a process on it."""
        wide = [signal for signal in self.signals if signal.scope in NODE_WIDE]
        return any(signal.scope is Scope.NODE for signal in wide) and (self.certainty >= Certainty.TESTED or fuse(wide).sure)

    @property
    def sentence(self) -> str:
        """Who says so, and how sure that is."""
        return f"{_said(self.signals)} ({_WORDS[self.certainty]})"


_WORDS: Final = {
    Certainty.NOTHING: "nothing", Certainty.HINTED: "a hint only", Certainty.ONE_WITNESS: "one witness",
    Certainty.TWO_WITNESSES: "two independent witnesses", Certainty.TESTED: "borne out by a test", Certainty.ORDERED: "an operator's word",
}
_NOTHING: Final = Verdict(Certainty.NOTHING, "", (), Harm.LATER, "any finding")


def fuse(signals: Iterable[Signal], tested: str = "", ordered_by: str = "") -> Verdict:
    """The surest verdict on any part that these signals of one node allow. `tested`: what a test that failed said; `ordered_by`: an operator.

    Two findings from one sensor are one witness; findings about different cards or ports do not bear each other out.
    """
    known = [(signal, sort) for signal in signals if signal.firing and (sort := sort_of(signal.kind)) is not None]
    if not (known or tested or ordered_by):
        return _NOTHING
    parts = sorted({(signal.scope is Scope.NIC, "" if signal.scope in NODE_WIDE else signal.part) for signal, _ in known}) or [(False, "")]
    verdicts = [
        _of_part(part, [(one, sort) for one, sort in known if _about(one, sort, part, nic)], tested, ordered_by) for nic, part in parts
    ]
    return max(verdicts, key=lambda one: (one.certainty, one.harm, len(one.signals)))


def _about(signal: Signal, sort: Sort, part: str, nic: bool) -> bool:
    """What the cards' driver tells of a node is about no port of it."""
    return signal.part == part or (signal.scope in NODE_WIDE and not (nic and "driver" in sort.witnesses))


def _of_part(part: str, known: Sequence[tuple[Signal, Sort]], tested: str, ordered_by: str) -> Verdict:
    faults = [(signal, sort) for signal, sort in known if sort.nature is Nature.FAULT and signal.scope is not Scope.LINK]
    certainty = _certainty(known, faults, tested, ordered_by)
    harm = max((sort.harm for _, sort in faults), default=Harm.LATER)
    surer = "" if certainty >= Certainty.TWO_WITNESSES else _surer(known, faults)
    return Verdict(certainty, part, tuple(signal for signal, _ in known), harm, surer)


def _certainty(known: Sequence[tuple[Signal, Sort]], faults: Sequence[tuple[Signal, Sort]], tested: str, ordered_by: str) -> Certainty:
    if ordered_by:
        return Certainty.ORDERED
    if tested:
        return Certainty.TESTED
    if not faults:
        return Certainty.HINTED if known else Certainty.NOTHING
    independent = any(not fault.witnesses & other.witnesses for _, fault in faults for _, other in known)
    return Certainty.TWO_WITNESSES if independent else Certainty.ONE_WITNESS


def _surer(known: Sequence[tuple[Signal, Sort]], faults: Sequence[tuple[Signal, Sort]]) -> str:
    if any(signal.scope is Scope.LINK for signal, _ in known) and not faults:
        return "which end of the link it is: a test of each"
    if not faults:
        return "a finding that is more than a hint"
    heard = sorted(set().union(*(sort.witnesses for _, sort in faults)))
    return f"another witness than {' and '.join(heard)}, or a test of the node that fails"


def _said(signals: Iterable[Signal]) -> str:
    return ", ".join(_unique(f"{signal.kind} on {_where(signal)}" for signal in signals)) or "no finding"


def _where(signal: Signal) -> str:
    words = {Scope.RANK: "rank ", Scope.LINK: "link "}
    return f"{words.get(signal.scope, '')}{signal.part}" if signal.part else "the node"


def _unique(words: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(words)
