"""An account as a table for people, and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from gpuwarden.cli.plain_text import Ink, aligned, printable
from gpuwarden.detector.account import Account, JobShare, Share

J_PER_KWH: Final = 3.6e6
S_PER_H: Final = 3600.0
_TITLE: Final = ("JOB", "USER", "CLASS", "GPUS", "GPU-HOURS", "ENERGY", "MEAN", "CAPPED", "SHARE", "HELD BACK", "SLOWDOWN")
_RIGHT: Final = range(3, len(_TITLE))


def lines(account: Account, ink: Ink) -> Iterator[str]:
    """The largest job first; then who no job is known for, and whether it adds up."""
    yield f"{_time(account.first_ns)} to {_time(account.last_ns)} UTC, {account.gpus:,} GPUs"
    yield ""
    nobody = (("(idle)", account.idle), ("(not known)", account.not_known))
    cells = [(name, "-", "-", *_cells(share)[:4], *("-",) * 4) for name, share in nobody if share.gpus]
    title, *rows = aligned([_TITLE, *map(_job, account.jobs), *cells], _RIGHT)
    yield ink(title, "dim")
    yield from rows
    yield ""
    yield from _sums(account)
    yield from _notes(account)


def _job(job: JobShare) -> tuple[str, ...]:
    said = (printable(job.job_id) or "(no job)", printable(job.user) or "-", printable(job.job_class) or "-")
    return (*said, *_cells(job.share))


def _cells(share: Share) -> tuple[str, ...]:
    capped_ratio, held_ratio = (part_s / share.gpu_s if share.gpu_s else 0.0 for part_s in (share.capped_s, share.held_s))
    return (
        f"{share.gpus:,}", _three(share.gpu_s / S_PER_H), f"{_three(share.energy_j / J_PER_KWH)} kWh", f"{share.mean_w:,.0f} W",
        f"{share.capped_s:,.0f} s", _percent(capped_ratio), _percent(held_ratio), _slowdown(share),
    )


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def _slowdown(share: Share) -> str:
    least, most = (f"{100 * ratio:.1f}" for ratio in share.slowdown)
    if not share.capped_s:
        return "none"
    return (f"{least} %" if least == most else f"{least}-{most} %") + ("+" if share.unmeasured_s else "")


def _three(number: float) -> str:
    """Three digits that count, and no exponent."""
    decimals = max(0, 2 - len(str(int(number))) + 1) if number >= 1 else 4
    return f"{number:,.{decimals}f}"


def _sums(account: Account) -> Iterator[str]:
    counted_j = account.energy_j - account.power_j
    yield f"In all {_three(account.energy_j / J_PER_KWH)} kWh."
    if account.counters_j:
        yield (
            f"The cards' own counters rose by {_three(account.counters_j / J_PER_KWH)} kWh, "
            f"of which {_three(counted_j / J_PER_KWH)} kWh are in the table: {100 * account.difference_ratio:+.2f} %."
        )
    if account.power_j:
        yield f"{_three(account.power_j / J_PER_KWH)} kWh are power times time, for want of a counter."
    if account.unread_s:
        yield f"{_three(account.unread_s / S_PER_H)} GPU-hours are without a reading of energy: it is not in the sums."


def _notes(account: Account) -> Iterator[str]:
    shares: Sequence[Share] = [job.share for job in account.jobs]
    if account.not_known.gpus:
        yield "(not known): nobody recorded who had the card, or there was a gap in the record."
    if any(share.capped_s for share in shares):
        yield "CAPPED: GPU-seconds under a limit of ours below the default. HELD BACK: the card also said that a power limit slowed it."
        yield "SLOWDOWN: an estimate, from the least to the most that such limits have cost measured work; see docs/jobs.md."
    if any(share.unmeasured_s for share in shares):
        yield "+: part of the time under a limit below a third of the default, where nothing was measured: it may be more."


def as_json(account: Account) -> dict[str, Any]:
    """Joules, watts, seconds of a whole card, ratios."""
    jobs = [{"job_id": job.job_id, "user": job.user, "job_class": job.job_class, **_share(job.share)} for job in account.jobs]
    return {
        "first_unix_ns": account.first_ns, "last_unix_ns": account.last_ns, "gpus": account.gpus, "jobs": jobs,
        "idle": _share(account.idle), "not_known": _share(account.not_known), "energy_j": account.energy_j, "power_j": account.power_j,
        "counters_j": account.counters_j, "difference_ratio": account.difference_ratio, "unread_s": account.unread_s,
    }


def _share(share: Share) -> dict[str, Any]:
    least, most = share.slowdown
    made = {name: value for name, value in asdict(share).items() if not name.endswith("_ratio")}
    return {**made, "mean_w": share.mean_w, "slowdown_least_ratio": least, "slowdown_most_ratio": most}


def _time(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns // 10**9, UTC).isoformat(sep=" ").removesuffix("+00:00")
