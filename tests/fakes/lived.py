"""A node's telemetry with everything that happens to it on its way: lost, late, twice, out of order, its clock set, its agent restarted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from gpuwarden.proto.catalogue import COLUMNS, Device, Kind, Metric
from gpuwarden.proto.encode import encode, encode_block

SECOND_NS = 1_000_000_000


@dataclass
class LivedNode:
    """`seed` decides all of it. One pass is as long as `period_s`; every `cards` has a few metrics of each kind."""

    node: str
    seed: int
    start_ns: int
    cards: int = 2
    period_s: float = 5.0
    metrics: dict[Device, list[Metric]] = field(default_factory=lambda: {
        Device.GPU: [m for m in COLUMNS[Device.GPU] if m.number in (1, 8, 16, 19, 25, 48)],
        Device.HOST: [m for m in COLUMNS[Device.HOST] if m.number in (203, 205, 219, 231)],
        Device.NIC: [m for m in COLUMNS[Device.NIC] if m.number in (300, 302)],
    })

    def records(self, passes: int) -> list[bytes]:
        """In the order in which they are sent."""
        chance = Random(self.seed)
        sent = [encode(self.node, *head, blocks) for head, blocks in self._passes(chance, passes)]
        kept = [one for one in sent if chance.random() > 0.05]
        for _ in range(len(kept) // 20):
            kept.insert(chance.randrange(len(kept)), chance.choice(kept))
        for _ in range(len(kept) // 20):
            at = chance.randrange(len(kept) - 1)
            kept[at : at + 2] = kept[at : at + 2][::-1]
        return kept

    def _passes(self, chance: Random, passes: int) -> Iterator[tuple[tuple[str, int, int], list[object]]]:
        clock_ns, start, sequence = self.start_ns, 0, 0
        counters: dict[tuple[str, str], float] = {}
        for own_ns in range(passes):  # as no clock shows the same nanosecond twice, whatever was done to it
            happens = chance.random()
            if happens < 0.01:  # the agent is restarted: its counters count from nothing
                start, sequence, counters = start + 1, 0, {}
            elif happens < 0.015:  # the clock is set, either way
                clock_ns += chance.choice([-1, 1]) * chance.randrange(150, 900) * SECOND_NS
            elif happens < 0.02:  # nobody measured for a while
                clock_ns += chance.randrange(30, 300) * SECOND_NS
            sequence += 1
            clock_ns += int(self.period_s * SECOND_NS) + chance.randrange(1000) * 1_000_000
            yield (f"start-{start}", sequence, clock_ns + own_ns), [self._block(chance, device, counters) for device in self.metrics]

    def _block(self, chance: Random, device: Device, counters: dict[tuple[str, str], float]) -> object:
        metrics = self.metrics[device]
        ids = {Device.GPU: [f"GPU-{card}" for card in range(self.cards)], Device.HOST: [self.node], Device.NIC: ["mlx5_0/1"]}[device]
        rows = [[self._value(chance, device_id, metric, counters) for metric in metrics] for device_id in ids]
        return encode_block(device, ids, metrics, rows)

    def _value(self, chance: Random, device_id: str, metric: Metric, counters: dict[tuple[str, str], float]) -> float:
        if chance.random() < 0.05:
            return float("nan")
        if metric.kind is Kind.STATE:
            return float(chance.randrange(2))
        if metric.kind is Kind.GAUGE:
            return chance.uniform(-1e3, 1e3)
        grown = counters.get((device_id, metric.name), 0.0) + chance.choice([0.0, chance.uniform(0, 1e5)])
        counters[device_id, metric.name] = grown
        return grown
