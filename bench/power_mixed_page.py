"""What a ramp buys and costs a training job, as one HTML file."""

from pathlib import Path
from typing import Any

from gpuwarden.sim.serving.page import write


def draw(file: Path, free: dict[str, Any], held: list[dict[str, Any]]) -> None:
    """`held`: by ramp, least first. OSError if the file cannot be written."""
    ramps_kw = [one["ramp_w_per_s"] / 1e3 for one in held]

    def drawn(above: Any, below: Any) -> None:
        above.plot(ramps_kw, [one["rise_2s_w"] / 1e3 for one in held], "o-", color="#2060b0", label="largest rise of the training nodes' sum within 2 s")
        above.axhline(free["rise_2s_w"] / 1e3, color="#888888", linestyle=":", label="with nobody to hold them back")
        above.axhline(free["rise_2s_w"] / 2e3, color="#c00000", linewidth=1, label="half of it")
        above.set(ylabel="kW", ylim=(0, None))
        above.legend(frameon=False)
        below.plot(ramps_kw, [100 * one["lost_ratio"] for one in held], "o-", color="#e08030", label="training work that is lost")
        below.axhline(3.0, color="#c00000", linewidth=1)
        below.set(xlabel="ramp, kW a second", ylabel="%", ylim=(0, None))
        below.legend(frameon=False)

    write(file, "A mixed row: what a ramp buys and costs", [f"{one['under']}: peak {100 * one['peak_fraction']:.1f} % of the rating, {one['over_rating_s']:.0f} s over, {one['trips']} trips" for one in held], drawn, ratios=(1, 1))
