"""Delivery to webhooks: a thread, a bounded queue and a memory of what has been told for each; nobody waits for it.

What waits is the newest word on each alert, so a repeat costs nothing and what is resolved before it could be told is told
as resolved. Delivered is what was answered with 2xx. A restart forgets what was told: conditions that last are told again.
Addresses, secrets and keys in files are read at every delivery: they change without a restart.
"""

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Final

import httpx
from prometheus_client import Counter, Gauge

from gpuwarden.controller.actuators import FORMS
from gpuwarden.controller.actuators.alertmanager import SAY_AGAIN_S
from gpuwarden.controller.actuators.reach import Reach, read_reach
from gpuwarden.controller.actuators.severity import at_least
from gpuwarden.controller.config import WebhookConfig
from gpuwarden.controller.events import Notify
from gpuwarden.core.config import ConfigError
from gpuwarden.core.version import VERSION

WAITING_LIMIT: Final = 256
TOLD_LIMIT: Final = 4096

ALERTS: Final = Counter(
    "gpuwarden_webhook_alerts_total", "Alerts for a webhook, by what became of them", ["webhook", "outcome"]
)
RETRIES: Final = Counter("gpuwarden_webhook_retries_total", "Attempts that failed and were repeated", ["webhook"])
WAITING: Final = Gauge("gpuwarden_webhook_waiting", "Alerts that wait for a webhook", ["webhook"])

_log = logging.getLogger("gpuwarden.webhook")


@dataclass(frozen=True, slots=True)
class Patience:
    """An attempt ends after `attempt_s`. Pauses have full jitter: evenly between 0 and a bound that doubles up to `cap_s`."""

    attempts: int = 6
    attempt_s: float = 5.0
    first_s: float = 0.5
    cap_s: float = 30.0

    def pause_s(self, failed: int) -> float:
        return random.uniform(0.0, min(self.cap_s, self.first_s * 2 ** (failed - 1)))


class _Again(Exception):
    """This attempt failed; the next may not."""


class _Refused(Exception):
    """The receiver does not want it: no use in saying it again."""


class Webhook:
    """One receiver. `tell` and `close` may be called from any thread."""

    def __init__(self, config: WebhookConfig, patience: Patience) -> None:
        """ConfigError if one of its files cannot be used."""
        read_reach(config)
        self._config, self._patience = config, patience
        self._waiting: OrderedDict[str, Notify] = OrderedDict()
        self._told: OrderedDict[str, Notify] = OrderedDict()  # by alert: the last word that arrived
        self._say_again_s = SAY_AGAIN_S if config.form == "alertmanager" else None
        self._loop = asyncio.new_event_loop()
        self._arrived = asyncio.Event()
        self._delivering = self._loop.create_task(self._deliver_all())
        self._thread = Thread(target=self._run, name=f"webhook-{config.name}", daemon=True)
        self._thread.start()

    def tell(self, alert: Notify) -> None:
        """Returns at once."""
        self._loop.call_soon_threadsafe(self._take, alert)

    def close(self) -> None:
        """What is under way is broken off; what waits is given up, and said."""
        self._loop.call_soon_threadsafe(self._delivering.cancel)
        self._thread.join()
        for alert in self._waiting.values():
            self._give_up(alert, "the controller is stopping")

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.wait({self._delivering}))
        self._loop.close()

    def _take(self, alert: Notify) -> None:
        told = self._told.get(alert.key)
        meant = alert.level >= self._config.level and at_least(alert.severity, self._config.min_severity)
        if not (meant or (told is not None and told.firing)):
            return
        self._waiting[alert.key] = alert
        if len(self._waiting) > WAITING_LIMIT:
            _, oldest = self._waiting.popitem(last=False)
            self._give_up(oldest, f"more than {WAITING_LIMIT} are waiting")
        WAITING.labels(self._config.name).set(len(self._waiting))
        self._arrived.set()

    async def _deliver_all(self) -> None:
        headers = {"User-Agent": f"gpuwarden/{VERSION}"}
        async with httpx.AsyncClient(timeout=self._patience.attempt_s, headers=headers) as client:
            while True:
                while self._waiting:
                    _, alert = self._waiting.popitem(last=False)
                    WAITING.labels(self._config.name).set(len(self._waiting))
                    await self._deliver(client, alert)
                self._arrived.clear()
                await self._wait_for_more()

    async def _wait_for_more(self) -> None:
        """What a receiver forgets unless it is said again is said again."""
        try:
            await asyncio.wait_for(self._arrived.wait(), self._say_again_s)
        except TimeoutError:
            for alert in [told for told in self._told.values() if told.firing]:
                self._waiting.setdefault(alert.key, alert)
                del self._told[alert.key]

    async def _deliver(self, client: httpx.AsyncClient, alert: Notify) -> None:
        if self._told.get(alert.key) == alert:
            self._count("repeated")
            return
        try:
            await self._try(client, alert)
        except (_Again, _Refused) as why:
            self._give_up(alert, str(why))
            return
        except asyncio.CancelledError:
            self._give_up(alert, "the controller is stopping")
            raise
        self._remember(alert)

    async def _try(self, client: httpx.AsyncClient, alert: Notify) -> None:
        for failed in range(1, self._patience.attempts):
            try:
                return await self._attempt(client, alert)
            except _Again as why:
                RETRIES.labels(self._config.name).inc()
                _log.info("%s: attempt %d failed, will try again: %s", self._config.name, failed, why)
                await asyncio.sleep(self._patience.pause_s(failed))
        await self._attempt(client, alert)

    async def _attempt(self, client: httpx.AsyncClient, alert: Notify) -> None:
        """Returns if it was delivered. The deadline is for all of it: a receiver that drips its answer does not hold us."""
        reach = self._reached()
        post = FORMS[self._config.form](alert, reach.routing_key)
        try:
            async with (
                asyncio.timeout(self._patience.attempt_s),
                client.stream("POST", reach.url, content=post.body, headers=reach.headers(post, int(time.time()))) as answer,
            ):
                status = answer.status_code
        except TimeoutError:
            raise _Again(f"no answer within {self._patience.attempt_s:g} s") from None
        except httpx.RequestError as why:
            raise _Again(f"{type(why).__name__} {why}".strip()) from None
        if status in (408, 429) or status >= 500:
            raise _Again(f"was answered {status}")
        if not 200 <= status < 300:
            raise _Refused(f"was answered {status}")

    def _reached(self) -> Reach:
        try:
            return read_reach(self._config)
        except ConfigError as why:
            raise _Again(str(why)) from None

    def _remember(self, alert: Notify) -> None:
        self._told[alert.key] = alert
        self._told.move_to_end(alert.key)
        if len(self._told) > TOLD_LIMIT:
            self._told.popitem(last=False)
        self._count("delivered")
        _log.info("%s: told of %s, %s", self._config.name, alert.title, "firing" if alert.firing else "resolved")

    def _give_up(self, alert: Notify, why: str) -> None:
        self._count("given_up")
        _log.warning("%s: gave up telling of %s: %s", self._config.name, alert.title, why)

    def _count(self, outcome: str) -> None:
        ALERTS.labels(self._config.name, outcome).inc()


class Webhooks:
    """All receivers."""

    def __init__(self, configs: Sequence[WebhookConfig], patience: Patience | None = None) -> None:
        self._all = [Webhook(config, patience or Patience()) for config in configs]

    def tell(self, alert: Notify) -> None:
        for webhook in self._all:
            webhook.tell(alert)

    def close(self) -> None:
        for webhook in self._all:
            webhook.close()
