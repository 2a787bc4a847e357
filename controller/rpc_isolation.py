"""What an operator asks of isolation, as its machine takes it."""

from collections.abc import Callable
from functools import partial
from typing import Final

from gpuwarden.controller.events import Refuse
from gpuwarden.controller.isolation import events
from gpuwarden.controller.isolation.picture import MODES
from gpuwarden.controller.isolation.records import ActionClass
from gpuwarden.controller.rpc_change import check_lengths
from gpuwarden.controller.rpc_refusal import Refused, invalid
from gpuwarden.controller.rpc_replies import Replies
from gpuwarden.controller.snapshot import Board
from gpuwarden.proto import control_pb2 as pb

_CLASSES: Final = {pb.ACTION_CLASS_ISOLATION: ActionClass.ISOLATION, pb.ACTION_CLASS_RESTART: ActionClass.RESTART}
_MODES: Final = {shown: mode for mode, shown in MODES.items()}
_NONE: Final = Refuse("FAILED_PRECONDITION", "NO_ISOLATION", "", "this controller isolates no nodes: its configuration has no [isolation]")
_NOT_READY: Final = Refuse("UNAVAILABLE", "NOT_READY", "", "the controller has just started: come again")


class AskIsolation:
    """The way of calls and of the page to the isolating machine."""

    def __init__(self, replies: Replies[events.Event] | None, board: Board) -> None:
        self._replies, self._board = replies, board

    async def said(self, make_event: Callable[[int], events.Event], patience_s: float) -> str:
        """Its answer, a sentence; Refused also where there is none, and where it decides nothing any more."""
        if self._replies is None:
            raise Refused(_NONE)
        if (newest := self._board.newest()) is None:
            raise Refused(_NOT_READY)
        if stopped := newest.isolation.stopped:
            raise Refused(Refuse("UNAVAILABLE", "STOPPED", "", f"isolation has stopped: {stopped}"))
        return (await self._replies.ask(make_event, patience_s)).decode()


def approve_event(request: pb.ApproveRequest, actor: str) -> Callable[[int], events.Approve]:
    """What makes the event once it has a token, as all of these do; Refused if a text is too long."""
    check_lengths(id=request.id)
    return partial(events.Approve, actor=actor, id=request.id, dry_run=request.validate_only)


def reject_event(request: pb.RejectRequest, actor: str) -> Callable[[int], events.Reject]:
    check_lengths(id=request.id)
    return partial(events.Reject, actor=actor, id=request.id, dry_run=request.validate_only)


def cordon_event(request: pb.CordonRequest, actor: str) -> Callable[[int], events.Cordon]:
    check_lengths(node=request.node, reason=request.reason)
    return partial(events.Cordon, actor=actor, node=request.node, reason=request.reason, dry_run=request.validate_only)


def uncordon_event(request: pb.UncordonRequest, actor: str) -> Callable[[int], events.Uncordon]:
    check_lengths(node=request.node)
    return partial(events.Uncordon, actor=actor, node=request.node, dry_run=request.validate_only)


def choose_event(request: pb.SetIsolationModeRequest, actor: str) -> Callable[[int], events.ChooseMode]:
    """Refused also where class or mode is none."""
    check_lengths(group=request.group)
    if (action_class := _CLASSES.get(request.action_class)) is None:
        raise invalid("action_class", "BAD_CLASS", f"action_class: is {request.action_class}, should be isolation or restart")
    if (mode := _MODES.get(request.mode)) is None:
        raise invalid("mode", "BAD_MODE", f"mode: is {request.mode}, should be observe, notify, approve or auto")
    return partial(events.ChooseMode, actor=actor, group=request.group, action_class=action_class, mode=mode, dry_run=request.validate_only)
