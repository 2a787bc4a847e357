"""A report as tables for people, and as JSON. What is not recorded is said, not guessed."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from gpuwarden.cli.plain_text import aligned, printable, who
from gpuwarden.cli.report_faults import REFUSED_SHOWN, Fault
from gpuwarden.cli.report_made import JobLost, Report

NOT_RECORDED: Final = {
    "post_checkpoint": "work since the last checkpoint: nobody tells the history when a job saves, nor from which checkpoint it goes on",
    "reinit": "re-initialisation: nobody tells the history when a job that is back on its cards makes progress again",
}
_JOBS: Final = ("JOB", "USER", "HOURS", "AWAY", "UNDONE", "DETECTION", "DIAGNOSIS", "REINIT", "UNEXPLAINED", "REQUEUED BY US", "GOODPUT AT MOST")


def lines(report: Report) -> Iterator[str]:
    """Faults, whether anybody was named, what was done, and what jobs lost."""
    yield from _faults(report)
    yield from _acts(report)
    yield from _jobs(report.jobs)


def _faults(report: Report) -> Iterator[str]:
    if report.faults is None:
        yield "Faults: not asked for; --bootstrap names the brokers that have the findings."
        return
    if not report.faults:
        yield "Faults: the topic has no finding that began in that time."
    else:
        yield from aligned([("FINDING", "TIMES", "STILL", "NODES"), *_by(report.faults, "kind", "node")], (1, 2))
        yield ""
        yield from aligned([("NODE", "TIMES", "STILL", "FINDINGS"), *_by(report.faults, "node", "kind")], (1, 2))
    for why, count in Counter(report.refused).most_common(REFUSED_SHOWN):
        yield f"{count:,} records of the topic were left out: {printable(why)}"
    yield ""
    if report.troubles:
        share = report.localised / len(report.troubles)
        yield f"Of {len(report.troubles):,} times that a job hung or a rank of it died, somebody was named {report.localised:,} times: {100 * share:.0f} % localised."
    else:
        yield "No finding says that a job hung or a rank died: how many are localised cannot be told."


def _by(faults: Sequence[Fault], key: str, others: str) -> Iterator[tuple[str, ...]]:
    """The most frequent first."""
    groups = defaultdict[str, list[Fault]](list)
    for fault in faults:
        groups[getattr(fault, key)].append(fault)
    for name, of in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        firing = sum(fault.over_s is None for fault in of)
        yield printable(name) or "-", f"{len(of):,}", f"{firing:,}", who(sorted({printable(getattr(fault, others)) or "-" for fault in of}))


def _acts(report: Report) -> Iterator[str]:
    yield ""
    if report.acts is None:
        yield "What was done: not asked for; --ledger names the controller's."
    elif not any(map(sum, report.acts.values())):
        yield "What was done: the ledger has no line of isolating a node or restarting a job in that time."
    else:
        yield from aligned([("ACT", "DONE", "WOULD HAVE"), *((kind, f"{done:,}", f"{would:,}") for kind, (done, would) in report.acts.items())], (1, 2))


def _jobs(jobs: Sequence[JobLost] | None) -> Iterator[str]:
    yield ""
    if jobs is None:
        yield "Jobs: not asked for; --history names the folder that a recorder writes to."
        return
    if not jobs:
        yield "Jobs: the history has none with an id in that time."
        return
    yield from aligned([_JOBS, *map(_job, jobs)], range(2, len(_JOBS)))
    yield ""
    yield "Not recorded yet, and not in GOODPUT: " + "; ".join(NOT_RECORDED.values()) + "."
    if any(job.unexplained_s for job in jobs):
        yield "UNEXPLAINED: the job was on no card, and no finding says why; it may have been its user's wish."


def _job(job: JobLost) -> tuple[str, ...]:
    seconds = (f"{part_s:,.0f} s" for part_s in (job.detection_s, job.diagnosis_isolation_s))
    detection, diagnosis = seconds
    return (
        printable(job.presence.job_id), printable(job.presence.user) or "-", f"{job.span_s / 3600:,.2f}", f"{len(job.presence.gaps):,}",
        "-", detection, diagnosis, "-", f"{job.unexplained_s:,.0f} s", f"{job.requeued:,}", f"{100 * job.goodput_most:.2f} %",
    )


def as_json(report: Report) -> dict[str, Any]:
    """Seconds, ratios. null: not recorded, or its source was not named."""
    return {
        "faults": None if report.faults is None else [
            {"finding": one.kind, "node": one.node, "scope": one.scope.value, "part": one.part, "job": one.job or None, "since_unix_s": one.since_s,
             "said_unix_s": one.said_s, "over_unix_s": one.over_s}
            for one in report.faults
        ],
        "left_out": dict(Counter(report.refused)),
        "localised": None if report.faults is None else {
            "times": len(report.troubles), "named": report.localised, "ratio": report.localised / len(report.troubles) if report.troubles else None,
        },
        "acts": None if report.acts is None else {kind: {"done": done, "would_have": would} for kind, (done, would) in report.acts.items()},
        "jobs": None if report.jobs is None else [_job_json(job) for job in report.jobs],
        "not_recorded": NOT_RECORDED,
    }  # fmt: skip


def _job_json(job: JobLost) -> dict[str, Any]:
    return {
        "job_id": job.presence.job_id, "user": job.presence.user, "first_unix_s": job.presence.first_s, "last_unix_s": job.presence.last_s,
        "away": len(job.presence.gaps), "away_with_a_finding": job.explained, "requeued_by_us": job.requeued,
        "post_checkpoint_s": None, "detection_s": job.detection_s, "diagnosis_isolation_s": job.diagnosis_isolation_s, "reinit_s": None,
        "unexplained_s": job.unexplained_s, "goodput_most_ratio": job.goodput_most,
    }
