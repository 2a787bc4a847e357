"""What a controller's ledger keeps over a restart, without the disk. Behaves as `controller.ledger` does; a test holds both together."""

from collections.abc import Sequence

from gpuwarden.controller.power.learnt_kept import LimitLearnt
from gpuwarden.controller.power.limit_heat import LimitHeat


class Memory:
    """Of one ledger."""

    def __init__(self) -> None:
        self._epoch = 0
        self._heats: dict[tuple[str, str], tuple[LimitHeat, int]] = {}
        self._learnt: dict[tuple[str, str], LimitLearnt] = {}

    def remember_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def remember_heats(self, heats: Sequence[LimitHeat]) -> None:
        self._heats |= {(one.domain, one.limit): (one, self._epoch) for one in heats}

    def remember_learnt(self, learnt: Sequence[LimitLearnt]) -> None:
        self._learnt |= {(one.domain, one.limit): one for one in learnt}

    def learnt(self) -> tuple[LimitLearnt, ...]:
        return tuple(one for _, one in sorted(self._learnt.items()))

    def epoch(self) -> int:
        return self._epoch

    def heats(self) -> tuple[LimitHeat, ...]:
        """As the newest epoch kept them."""
        return tuple(one for _, (one, epoch) in sorted(self._heats.items()) if epoch == self._epoch)

    def copy(self) -> "Memory":
        """A backup."""
        made = Memory()
        made._epoch, made._heats, made._learnt = self._epoch, dict(self._heats), dict(self._learnt)
        return made
