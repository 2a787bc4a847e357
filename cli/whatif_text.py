"""The answer of `gpuwarden whatif` in words, and as a table."""

from collections.abc import Iterator

from gpuwarden.sim.whatif.question import (
    CONFIDENCE,
    LEAST_BLOCKS,
    MANY_BRAKES,
    Answer,
    Figures,
    Question,
    Service,
)
from gpuwarden.sim.whatif.recorded import RISE_S

CAPPED_RATIO = 0.01  # above this share of time under our caps, what was recorded is not what was wanted


def sentences(question: Question, answer: Answer, preset: str) -> list[str]:
    return [*_recording(question, answer), *_fit(question, answer, preset), *_warnings(question)]


def _recording(question: Question, answer: Answer) -> Iterator[str]:
    recorded, limit_w = question.recorded, question.control.limit_w
    hours = recorded.duration_s / 3600
    yield (
        f"{len(recorded.nodes)} servers, {hours:,.1f} hours, a reading every {recorded.step_s:g} s: peak {recorded.peak_w() / 1e3:,.1f} kW, "
        f"{100 * recorded.peak_w() / limit_w:.1f} % of {limit_w / 1e3:,.1f} kW."
    )
    synchrony = recorded.synchrony()
    how = "together: an added one does at every instant what its model did" if recorded.swings_together else "independently: an added one lags its model by some minutes"
    yield f"Over {RISE_S:g} s they rise {how} (variance of the sum over the sum of variances: {synchrony:.1f})."
    if answer.blocks < LEAST_BLOCKS:
        yield f"The recording is shorter than {LEAST_BLOCKS} hours: the interval is one over which servers come, not over time."
    else:
        yield f"The interval is one over which servers come and over {answer.blocks} {'days' if answer.block_s > 3600 else 'hours'} of recording."


def _fit(question: Question, answer: Answer, preset: str) -> Iterator[str]:
    cautious, median, bold = answer.fit
    sure = f"{100 * (1 - CONFIDENCE[0]):.0f} %"
    if cautious < 0:
        yield f"Not even the row as it is keeps every bound under {preset} in {sure} of the resamplings."
    elif cautious == 0:
        yield f"No server can be added under {preset}: one more breaks a bound in more than {100 * CONFIDENCE[0]:.0f} % of the resamplings (median {median}, up to {bold})."
    else:
        share = 100 * cautious / len(question.recorded.nodes)
        yield f"{cautious} more fit under {preset} ({share:.0f} % more), with every bound kept in {sure} of the resamplings; median {median}, up to {bold}."
    if answer.binding:
        what = "; ".join(f"{name} ({100 * ratio:.0f} %)" for name, ratio in answer.binding.items())
        yield f"What the next one breaks, by share of the resamplings: {what}."


def _warnings(question: Question) -> Iterator[str]:
    if question.recorded.capped_ratio > CAPPED_RATIO:
        yield (
            f"Cards were under caps for {100 * question.recorded.capped_ratio:.0f} % of the time: they wanted more than was recorded, and fewer fit than this says."
        )
    if question.recorded.swings_together:
        yield "Servers that swing together are a training job: locks slow all of it, and its peaks add up; cap its swing rather than add to it."


def table(answer: Answer, service: Service) -> list[str]:
    head = f"{'ADDED':>5} {'KEEPS ALL':>10} {'PEAK':>7} {'BRAKES':>7} {'OVER':>7} {'HIGH P50':>9} {'P99':>7} {'LOW P50':>8} {'P99':>7}"
    bounds = f"{'':>5} {'':>10} {'':>7} {service.brakes:>7} {'':>7} {_percent(service.high_p50):>9} {_percent(service.high_p99):>7} {_percent(service.low_p50):>8} {_percent(service.low_p99):>7}  at most"
    return [head, *(_row(one) for one in answer.table), bounds]


def _row(one: Figures) -> str:
    brakes = f"{one.brakes:.0f}" if one.brakes <= MANY_BRAKES else f"> {MANY_BRAKES}"
    return (
        f"{one.added:>5} {100 * one.fits_ratio:>8.0f} % {100 * one.peak:>5.1f} % {brakes:>7} {one.over_s:>5.0f} s "
        f"{_percent(one.high_p50):>9} {_percent(one.high_p99):>7} {_percent(one.low_p50):>8} {_percent(one.low_p99):>7}"
    )


def _percent(stretch: float) -> str:
    return f"{100 * stretch:+.1f} %"
