"""A node's way out of service and back, as a table. What is not in it does not happen."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Of one node. `stale` is none of them: silence is shown, and moves no node (`Facts.shown`)."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    CONFIRMING = "confirming"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    REPAIRING = "repairing"
    TESTING = "testing"
    RETURNED = "returned"
    LEMON = "lemon"
    FOREIGN = "foreign"


class Cause(Enum):
    """What moves a node."""

    ACCUSED = "a finding that may be a reason to act"
    ORDERED = "an operator's cordon"
    EVIDENCE_OVER = "the evidence is over"
    NEVER_TOUCHED = "the evidence is over, and it was never out"
    TEST_BEGUN = "a test is ordered"
    TEST_PASSED = "the test passed"
    TEST_FAILED = "the test failed"
    TEST_IMPOSSIBLE = "the test could not be run"
    OVERRULED = "a person says no"
    DRAIN_ORDERED = "condemned, and the drain is ordered"
    READ_BACK = "the scheduler holds it for our reason"
    EMPTY = "nothing is left of any job"
    RETURN_ORDERED = "the return is ordered"
    STRIKES_SPENT = "out too often"
    PROBATION_OVER = "well for the time of probation"
    HELD_BY_OTHERS = "somebody else holds it"
    LET_GO = "nobody holds it any more"
    RESUMED_BY_OTHERS = "somebody has resumed it"
    FOUND = "the scheduler holds it for a reason of ours that we do not know"
    MODE_CHANGED = "a mode was set, and nothing had been done"


S, C = State, Cause
OUT: Final = (S.CORDONED, S.DRAINING, S.DRAINED, S.REPAIRING, S.TESTING, S.LEMON)  # by our hand
WATCHED: Final = (S.SUSPECT, S.CONFIRMING)

TABLE: Final[Mapping[tuple[State, Cause], State]] = {
    (S.HEALTHY, C.ACCUSED): S.SUSPECT,
    (S.HEALTHY, C.ORDERED): S.SUSPECT,
    (S.SUSPECT, C.TEST_BEGUN): S.CONFIRMING,
    (S.CONFIRMING, C.TEST_PASSED): S.SUSPECT,
    (S.CONFIRMING, C.TEST_FAILED): S.SUSPECT,
    (S.CONFIRMING, C.TEST_IMPOSSIBLE): S.SUSPECT,
    **{(state, C.EVIDENCE_OVER): S.HEALTHY for state in WATCHED},
    **{(state, C.OVERRULED): S.HEALTHY for state in WATCHED},
    **{(state, C.DRAIN_ORDERED): S.CORDONED for state in WATCHED},
    (S.CORDONED, C.READ_BACK): S.DRAINING,
    (S.DRAINING, C.EMPTY): S.DRAINED,
    (S.DRAINED, C.EVIDENCE_OVER): S.TESTING,
    (S.DRAINED, C.ACCUSED): S.REPAIRING,
    (S.DRAINED, C.ORDERED): S.REPAIRING,
    (S.REPAIRING, C.EVIDENCE_OVER): S.TESTING,
    (S.TESTING, C.TEST_FAILED): S.REPAIRING,
    (S.TESTING, C.ACCUSED): S.REPAIRING,
    (S.TESTING, C.STRIKES_SPENT): S.LEMON,
    **{(state, C.RETURN_ORDERED): S.RETURNED for state in OUT},
    (S.RETURNED, C.ACCUSED): S.SUSPECT,
    (S.RETURNED, C.ORDERED): S.SUSPECT,
    (S.RETURNED, C.PROBATION_OVER): S.HEALTHY,
    # Where only "would have" was said, or the drain was refused, the scheduler never held the node.
    **{(state, C.NEVER_TOUCHED): S.HEALTHY for state in (S.CORDONED, S.DRAINING)},
    **{(state, C.MODE_CHANGED): S.SUSPECT for state in (S.CORDONED, S.DRAINING)},
    **{(state, C.FOUND): S.DRAINING for state in (S.HEALTHY, S.SUSPECT, S.CONFIRMING, S.RETURNED, S.FOREIGN)},
    # Others come and go as they like, and are right.
    **{(state, C.HELD_BY_OTHERS): S.FOREIGN for state in State if state is not S.FOREIGN},
    **{(state, C.RESUMED_BY_OTHERS): S.HEALTHY for state in OUT},
    (S.FOREIGN, C.LET_GO): S.HEALTHY,
}
