"""`gpuwarden replay`: an event log is stepped through a fresh machine, which must decide the same again."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from gpuwarden.core.config import ConfigError
from gpuwarden.core.eventlog import BadLog, Replayed, Step, digest, read_head, read_steps, replay
from gpuwarden.core.machine import Machine
from gpuwarden.core.plain import Plain, Reader, Unknown, to_plain
from gpuwarden.core.private import read_key

Build = Callable[[], Machine[Any, Any]]
Setup = TypeVar("Setup")
SHOWN_CHARS = 2000


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verb = verbs.add_parser("replay", help="does a recorded event log again: same decisions? exit 1 if not")
    verb.add_argument("file", type=Path, metavar="FILE", help="written by --events DIR")
    keys = verb.add_mutually_exclusive_group()
    keys.add_argument("--key", type=Path, metavar="FILE", help="a limiter's log: its node's key, which no log holds")
    keys.add_argument("--keys", type=Path, metavar="DIR", help="a limiter's or controller's log: folder of <node>.key files")
    verb.add_argument("--models", type=Path, metavar="DIR", help="a detector's log that names models of health: the registry that has them")
    verb.add_argument("--json", action="store_true", help="the outcome as JSON")
    verb.set_defaults(run=run, verb="replay")


def run(args: argparse.Namespace) -> int:
    try:
        part, setup = read_head(args.file)
        reader, build = _prepared(part, setup, args)
        steps, actions, differs = _compare(replay(read_steps(args.file, reader), build))
    except OSError as why:
        raise ConfigError(f"{args.file}: {why.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{args.file}: is not text") from None
    except BadLog as why:
        raise ConfigError(str(why)) from None
    except Unknown as why:
        raise ConfigError(f"{args.file}:1: {why}") from None
    made = {"file": str(args.file), "part": part, "steps": steps, "actions": actions, "same": differs is None}
    _tell(made, differs, args.json)
    return 0 if differs is None else 1


def _prepared(part: str, setup: Plain, args: argparse.Namespace) -> tuple[Reader, Build]:
    match part:
        case "agent":
            return _agent(setup)
        case "limiter":
            return _limiter(setup, args)
        case "detector":
            return _detector(setup, args)
        case "controller":
            return _controller(setup, args)
        case "isolation":
            return _isolation(setup)
    raise ConfigError(f"{args.file}: part: is {part!r}, should be agent, limiter, detector, controller or isolation")


def _agent(plain: Plain) -> tuple[Reader, Build]:
    from gpuwarden.agent import events, probed, reading
    from gpuwarden.agent.machine import Agent, AgentSetup
    from gpuwarden.core.nccl import ras
    from gpuwarden.core.nccl.process import Process
    from gpuwarden.proto.catalogue import Device

    ranks = (reading.RankReading, reading.RankGroup, reading.RankPending, reading.RankTimed, reading.RankEnd, reading.TimedReading, reading.TimesRow, reading.RasReading, reading.ProgressReading, reading.Progress, reading.JobPhase)
    answers = (ras.Answer, ras.Communicator, ras.Member, ras.Absent, Process)
    nested = (reading.Reading, reading.DeviceReading, reading.DeviceEvent, reading.GpuProcess, *ranks, *answers, Device, probed.Offered, probed.Result, probed.Outcome, probed.Figure)
    reader = Reader((AgentSetup, *get_args(events.Event), *nested))
    setup = _setup(reader, plain, AgentSetup)
    return reader, lambda: Agent(setup)


def _limiter(plain: Plain, args: argparse.Namespace) -> tuple[Reader, Build]:
    from gpuwarden.agent.limiter import events
    from gpuwarden.agent.limiter.card import Card, CardState
    from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup

    reader = Reader((LimiterSetup, Card, CardState, *get_args(events.Event)))
    setup = _setup(reader, plain, LimiterSetup)
    key = read_key(args.key) if args.key is not None else _node_key(setup.node, args, only=True)
    return reader, lambda: Limiter(setup, key)


def _detector(plain: Plain, args: argparse.Namespace) -> tuple[Reader, Build]:
    from gpuwarden.detector import events
    from gpuwarden.detector.health.summaries import RoomSetup
    from gpuwarden.detector.machine import Detector, DetectorSetup

    reader = Reader((DetectorSetup, RoomSetup, events.Raw, *get_args(events.Event)))
    setup = _setup(reader, plain, DetectorSetup)
    return reader, lambda: Detector(setup, _Models(args.models))


class _Models(dict[str, Any]):
    """What a log names, read when it is asked for; a log has only the ids."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, model_id: str) -> Any:
        from gpuwarden.detector.health.stored import understood
        from gpuwarden.detector.registry.refused import BadModel
        from gpuwarden.detector.registry.shelf import Registry

        if self._folder is None:
            raise ConfigError(f"--models: this log needs the model {model_id}; name the registry that has it")
        try:
            return self.setdefault(model_id, understood(Registry(self._folder).load(model_id)))
        except BadModel as why:
            raise ConfigError(f"--models: {why}") from None


def _controller(plain: Plain, args: argparse.Namespace) -> tuple[Reader, Build]:
    from gpuwarden.controller import events
    from gpuwarden.controller.alerts import AlertSetup
    from gpuwarden.controller.machine import Controller, ControllerSetup
    from gpuwarden.controller.maintenance import Window
    from gpuwarden.controller.out_of_band_config import OutOfBandConfig
    from gpuwarden.controller.power.domain import DomainConfig
    from gpuwarden.controller.power.foreign_kept import LimitForeign
    from gpuwarden.controller.power.hostlist import expand
    from gpuwarden.controller.power.keeper import Timing
    from gpuwarden.controller.power.learnt_kept import LimitLearnt
    from gpuwarden.controller.power.least import JobFloor
    from gpuwarden.controller.power.limit import LimitConfig
    from gpuwarden.controller.power.limit_heat import LimitHeat
    from gpuwarden.controller.power.meter_config import MeterConfig
    from gpuwarden.controller.power.node_class import NodeClass
    from gpuwarden.controller.power.topology import Contingency, ReplacedLimit
    from gpuwarden.controller.racks import RackConfig
    from gpuwarden.controller.remembered import Remembered
    from gpuwarden.controller.telling import TellTiming

    people = (AlertSetup, TellTiming, RackConfig, Window)
    power = (DomainConfig, NodeClass, LimitConfig, MeterConfig, Contingency, ReplacedLimit, LimitHeat, LimitForeign, LimitLearnt, JobFloor)
    reader = Reader((ControllerSetup, OutOfBandConfig, *power, Timing, Remembered, *people, *get_args(events.Event)))
    setup = _setup(reader, plain, ControllerSetup)
    patterns = [made.nodes for domain in setup.domains for made in domain.classes]
    keys = {node: _node_key(node, args, only=False) for nodes in patterns for node in expand(nodes)}
    return reader, lambda: Controller(setup, keys)


def _isolation(plain: Plain) -> tuple[Reader, Build]:
    from gpuwarden.controller.events import FindingArrived
    from gpuwarden.controller.isolation import config, events, lifecycle, records, signals
    from gpuwarden.controller.isolation.desk import Desk
    from gpuwarden.controller.isolation.probe import OfferedProbe
    from gpuwarden.controller.schedulers import scheduler

    configs = (config.IsolationConfig, config.GroupConfig, config.SharedConfig)
    known = (*get_args(records.Record), records.Restart, signals.Signal, OfferedProbe, scheduler.Truth, scheduler.NodeTruth, scheduler.JobTruth)
    words = (
        records.Mode, records.ActionClass, records.WishKind, records.Activity, records.EffectState, records.Answer, lifecycle.State, signals.Scope,
        events.Outcome, scheduler.Availability, scheduler.Phase, scheduler.Kind,
    )
    reader = Reader((FindingArrived, *configs, *known, *words, *get_args(events.Event)))
    setup = _setup(reader, plain, config.IsolationConfig)
    return reader, lambda: Desk(setup)


def _setup(reader: Reader, plain: Plain, kind: type[Setup]) -> Setup:
    made = reader.read(plain)
    if not isinstance(made, kind):
        raise Unknown(f"setup: is {str(plain)[:SHOWN_CHARS]}, should be a {kind.__name__}")
    return made


def _node_key(node: str, args: argparse.Namespace, only: bool) -> bytes:
    if args.keys is None:
        or_key = ", or that file with --key" if only else ""
        raise ConfigError(f"--keys: this log needs the key of {node}; name the folder that has {node}.key{or_key}")
    return read_key(args.keys / f"{node}.key")


def _compare(done: Iterable[Replayed]) -> tuple[int, int, Replayed | None]:
    """Steps and actions up to and with the first step that decided otherwise, if any did."""
    steps = actions = 0
    for one in done:
        steps, actions = steps + 1, actions + len(one.actions)
        if not one.same:
            return steps, actions, one
    return steps, actions, None


def _tell(made: dict[str, Any], differs: Replayed | None, as_json: bool) -> None:
    if differs is not None:
        made["first_difference"] = _difference(differs.step, differs)
    if as_json:
        print(json.dumps(made, indent=1))
    elif differs is None:
        print(f"{made['part']}: {made['steps']:,} steps led to the same {made['actions']:,} actions.")
    else:
        print("\n".join(_difference_lines(made["file"], differs)))


def _difference(step: Step, differs: Replayed) -> dict[str, Any]:
    actions = [to_plain(action) for action in differs.actions]
    digests = {"digest_recorded": step.actions, "digest_now": digest(differs.actions)}
    return {"line": step.line, "now_s": step.now_s, "event": to_plain(step.event), **digests, "actions_now": actions}


def _difference_lines(file: str, differs: Replayed) -> Iterator[str]:
    """For a person; what is very long is cut."""
    step = differs.step
    yield f"{file}:{step.line}: decided otherwise at {step.now_s:.3f} s on {type(step.event).__name__}"
    yield f"event: {str(to_plain(step.event))[:SHOWN_CHARS]}"
    yield f"recorded: actions with digest {step.actions}"
    yield f"now: digest {digest(differs.actions)}, {len(differs.actions)} actions"
    yield from (f"  {str(to_plain(action))[:SHOWN_CHARS]}" for action in differs.actions)
