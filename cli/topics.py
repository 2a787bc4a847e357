"""`gpuwarden topics`: makes gpuwarden's topics as they should be, and says in what they differ; the same for who may touch them."""

import argparse
import json
import threading
from typing import TYPE_CHECKING, Any, Final

from gpuwarden.cli.brokers import add_brokers, brokers
from gpuwarden.cli.topics_told import RightTold, TopicTold, tell
from gpuwarden.core.bus_roles import ROLES, Right, rights
from gpuwarden.core.bus_topics import Difference, differences, wanted
from gpuwarden.core.config import ConfigError
from gpuwarden.proto import topics

if TYPE_CHECKING:
    from gpuwarden.core.bus_kafka_admin import KafkaTopics

PATIENCE_S: Final = 3.0
WAIT_S: Final = 30.0
REPLICATION: Final = 3


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verb = verbs.add_parser("topics", help="make Kafka's topics, and say who may touch them; repeat it to check")
    add_brokers(verb)
    verb.add_argument("--partitions", type=_count, default=12, metavar="N", help="of each busy topic (%(default)s)")
    verb.add_argument("--replication", type=_count, metavar="N", help=f"brokers that have each record; default {REPLICATION}, or all if they are fewer")
    verb.add_argument("--apply", action="store_true", help="set what differs, where that does no harm")
    verb.add_argument("--acls", action="store_true", help="give each role the rights that it needs, too")
    verb.add_argument(
        "--principal", action="append", default=[], metavar="ROLE=NAMES",
        help="whom the brokers know a role as; `agent=agent-gpu[01-08]` is a range; default: by its own name",
    )  # fmt: skip
    verb.add_argument("--dry-run", action="store_true", help="change nothing, and say what would be")
    verb.add_argument("--wait-s", type=float, default=WAIT_S, metavar="S", help="for a broker that does not answer (%(default)g)")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=run, verb="topics")


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"is {text}, should be 1 or more")
    return count


def run(args: argparse.Namespace) -> int:
    """0: all is as it should be; 1: it is not, or no broker answers."""
    from gpuwarden.core.bus import BusError
    from gpuwarden.core.connect import wait_for_kafka
    from gpuwarden.core.log import log_to_stderr
    from gpuwarden.core.service import stop_on_signals

    config, who = brokers(args), principals(args.principal)
    log_to_stderr()
    stop = stop_on_signals()
    timer = threading.Timer(args.wait_s, stop.set)
    timer.daemon = True
    timer.start()
    try:
        topics_told, rights_told = wait_for_kafka(config, lambda: _see_to(args, config, who), stop)
    except BusError:
        return 1
    finally:
        timer.cancel()
    if args.json:
        print(json.dumps({"topics": [t.figures() for t in topics_told], "acls": [r.figures() for r in rights_told]}, indent=1))
    else:
        print("\n".join(tell(topics_told, rights_told)))
    good = all(told.good for told in topics_told) and all(told.good for told in rights_told)
    return 0 if good else 1


def principals(given: list[str]) -> dict[str, tuple[str, ...]]:
    """Role to the names that its clients go by; ConfigError if they cannot be."""
    from gpuwarden.controller.power.hostlist import BadHostlist, expand

    named: dict[str, tuple[str, ...]] = {role: (role,) for role in ROLES}
    for line in given:
        role, _, names = line.partition("=")
        if role not in ROLES:
            raise ConfigError(f"--principal: {line!r} should be ROLE=NAMES; roles are {', '.join(ROLES)}")
        try:
            named[role] = expand(names.split(","))
        except BadHostlist as why:
            raise ConfigError(f"--principal: {why}") from None
    return named


def _see_to(args: argparse.Namespace, config: Any, who: dict[str, tuple[str, ...]]) -> tuple[list[TopicTold], list[RightTold]]:
    from gpuwarden.core.bus_kafka_admin import administering

    with administering(config, PATIENCE_S) as kafka:
        replication = args.replication or min(REPLICATION, kafka.brokers())
        shapes = {topic: wanted(topic, args.partitions, replication) for topic in topics.ALL}
        return _see_to_topics(args, kafka, shapes), _see_to_rights(args, kafka, who) if args.acls else []


def _see_to_topics(args: argparse.Namespace, kafka: "KafkaTopics", shapes: dict[str, dict[str, str]]) -> list[TopicTold]:
    found = kafka.found(shapes)
    absent = {topic: shape for topic, shape in shapes.items() if topic not in found}
    if not args.dry_run:
        kafka.create(absent)
    told = [TopicTold(topic, shape, "would be created" if args.dry_run else "created") for topic, shape in absent.items()]
    for topic, shape in found.items():
        told.append(_see_to_settings(args, kafka, topic, shapes[topic], list(differences(shape, shapes[topic]))))
    return sorted(told, key=lambda one: topics.ALL.index(one.topic))


def _see_to_settings(
    args: argparse.Namespace, kafka: "KafkaTopics", topic: str, shape: dict[str, str], differing: list[Difference]
) -> TopicTold:
    if not differing:
        return TopicTold(topic, shape, "as wanted")
    harmless = {one.setting: one.wanted for one in differing if not one.obstacle}
    if not args.apply or args.dry_run or not harmless:
        return TopicTold(topic, shape, "differs", tuple(differing))
    kafka.set(topic, harmless)
    left = tuple(one for one in differing if one.obstacle)
    return TopicTold(topic, shape, "differs" if left else "set", left, tuple(one for one in differing if not one.obstacle))


def _see_to_rights(args: argparse.Namespace, kafka: "KafkaTopics", who: dict[str, tuple[str, ...]]) -> list[RightTold]:
    from gpuwarden.core.bus_kafka_rights import found_rights, grant

    needed = {right: role for role, names in who.items() for name in names for right in rights(ROLES[role], name)}
    found = found_rights(kafka.admin)
    absent = [right for right in needed if right not in found]
    if absent and not args.dry_run:
        grant(kafka.admin, absent)
    made = "would be given" if args.dry_run else "given"
    told = [RightTold(right, role, made if right in absent else "as wanted") for right, role in needed.items()]
    return told + [RightTold(right, "", "also there") for right in sorted(found - set(needed)) if _ours(right)]


def _ours(right: Right) -> bool:
    return right.name.startswith("gpuwarden") or right.name == "*"
