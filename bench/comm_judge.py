"""Whether a verdict on a simulated job is right, and what a share of few cases may be."""

from collections.abc import Sequence

from comm_truth import Part

from gpuwarden.detector.comm.verdict import Finding, Verdict

SURE = 1.96
OUTCOMES = ("right", "holds", "partly", "quiet", "wrong")


def judged(parts: Sequence[Part], verdict: Verdict) -> str:
    """right: each part is in a set that is no larger than what can be told apart, and nothing else is named. holds: each is in a set. partly: some are.
    wrong: a set holds no faulty part that such a finding is of."""
    sets = [(frozenset(one.ranks), [part for part in parts if part.truth <= frozenset(one.ranks) and part.syndrome == one.syndrome]) for one in verdict.findings]
    if any(not held for _, held in sets):
        return "wrong"
    close = [part for ranks, held in sets if ranks <= frozenset[int]().union(*(part.bound for part in held)) for part in held]
    if all(part in close or not part.told for part in parts) and len(sets) <= len(parts):
        return "right"
    if not sets:
        return "quiet"
    return "holds" if all(any(part in held for _, held in sets) for part in parts if part.told) else "partly"


def syndromes(parts: Sequence[Part], findings: Sequence[Finding]) -> tuple[int, int]:
    """Of findings that hold a faulty part: how many name what ails it, and how many there are."""
    held = [(one, [part for part in parts if part.truth <= frozenset(one.ranks)]) for one in findings]
    told = [(one, of) for one, of in held if of]
    return sum(one.syndrome in {part.syndrome for part in of} for one, of in told), len(told)


def wilson(right: int, cases: int) -> tuple[float, float]:
    """Wilson's interval for a share (J. Am. Stat. Assoc. 22, 1927)."""
    share, square = right / cases, SURE**2 / cases
    half = SURE * (share * (1 - share) / cases + square / (4 * cases)) ** 0.5
    return (share + square / 2 - half) / (1 + square), (share + square / 2 + half) / (1 + square)
