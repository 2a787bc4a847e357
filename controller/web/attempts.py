"""How often somebody may try to log in: a bucket for each address, and one for all."""

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then one in `every_s`."""

    burst: int
    every_s: float


EACH: Final = Rate(6, 10.0)
ALL: Final = Rate(30, 1.0)
# An address that drops out here came before 1,024 others, hence, by the bucket for all, long enough ago to be full again.
MOST_ADDRESSES: Final = 1024


class Bucket:
    """Full at first."""

    def __init__(self, rate: Rate) -> None:
        self._rate, self._left, self._at_s = rate, float(rate.burst), 0.0

    def wait_s(self, now_s: float) -> float:
        """Until one may be taken: 0 if now."""
        self._left = min(self._rate.burst, self._left + (now_s - self._at_s) / self._rate.every_s)
        self._at_s = now_s
        return max(0.0, (1 - self._left) * self._rate.every_s)

    def add(self, count: int) -> None:
        self._left += count


class Attempts:
    def __init__(self) -> None:
        self._all = Bucket(ALL)
        self._each: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str) -> float:
        """0 if this attempt may be made; otherwise the seconds to wait, and nothing is taken."""
        now_s = time.monotonic()
        if (wait_s := self._all.wait_s(now_s)) > 0:
            return wait_s
        bucket = self._bucket(address)
        if (wait_s := bucket.wait_s(now_s)) > 0:
            return wait_s
        self._all.add(-1)
        bucket.add(-1)
        return 0.0

    def give_back(self, address: str) -> None:
        """The attempt was good. Only it is given back: one good password does not buy guesses at another."""
        self._all.add(1)
        self._bucket(address).add(1)

    def _bucket(self, address: str) -> Bucket:
        network = _network(address)
        bucket = self._each.setdefault(network, Bucket(EACH))
        self._each.move_to_end(network)
        if len(self._each) > MOST_ADDRESSES:
            self._each.popitem(last=False)
        return bucket


def _network(address: str) -> str:
    """An IPv6 host commands a whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
