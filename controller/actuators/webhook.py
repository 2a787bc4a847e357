"""Delivery to webhooks: a thread for each, with what its receiver has heard and is yet to hear; nobody waits for it.

Delivered is what was answered with 2xx. A restart forgets what was told: what still fires is told again. Addresses, secrets and keys in files are read at every delivery: they change without a restart.
"""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Final

import httpx
from prometheus_client import Counter, Gauge

from gpuwarden.controller.actuators import FORMS
from gpuwarden.controller.actuators.alertmanager import SAY_AGAIN_S
from gpuwarden.controller.actuators.post import Occasion
from gpuwarden.controller.actuators.reach import Reach, read_reach
from gpuwarden.controller.actuators.severity import at_least
from gpuwarden.controller.actuators.words import WAITING_LIMIT, Words
from gpuwarden.controller.config import WebhookConfig
from gpuwarden.controller.events import Notify
from gpuwarden.core.config import ConfigError
from gpuwarden.core.version import VERSION

MOST_RETRY_AFTER_S: Final = 60.0
OUTCOMES: Final = ("delivered", "given_up")

ALERTS: Final = Counter(
    "gpuwarden_webhook_alerts_total", "Alerts for a webhook, by what became of them", ["webhook", "outcome"]
)
RETRIES: Final = Counter("gpuwarden_webhook_retries_total", "Attempts that failed and were repeated", ["webhook"])
WAITING: Final = Gauge("gpuwarden_webhook_waiting", "Alerts that wait for a webhook", ["webhook"])

_log = logging.getLogger("gpuwarden.webhook")


@dataclass(frozen=True, slots=True)
class Patience:
    """An attempt ends after `attempt_s`. Pauses have full jitter: evenly between 0 and a bound that doubles up to `cap_s`.

    What has failed `attempts` times is tried once every `retry_s`, until it arrives or there is a newer word.
    """

    attempts: int = 6
    attempt_s: float = 5.0
    first_s: float = 0.5
    cap_s: float = 30.0
    retry_s: float = 60.0

    def pause_s(self, failed: int) -> float:
        return random.uniform(0.0, min(self.cap_s, self.first_s * 2 ** (failed - 1)))


class _Again(Exception):
    """This attempt failed; the next may not, but not before `after_s`."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class _Refused(Exception):
    """The receiver does not want it: no use in saying it again."""


class Webhook:
    """One receiver. `tell` and `close` may be called from any thread."""

    def __init__(self, config: WebhookConfig, patience: Patience, cluster: str = "gpuwarden") -> None:
        """ConfigError if one of its files cannot be used."""
        read_reach(config)
        self._config, self._patience, self._cluster = config, patience, cluster
        self._words = Words(patience.retry_s, SAY_AGAIN_S if config.form == "alertmanager" else None)
        for outcome in OUTCOMES:
            ALERTS.labels(config.name, outcome)  # born at 0, so that the first failure is an increase
        RETRIES.labels(config.name)
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
        for alert in self._words.left():
            self._give_up(alert, "the controller is stopping")

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.wait({self._delivering}))
        self._loop.close()

    def _take(self, alert: Notify) -> None:
        meant = alert.level >= self._config.level and at_least(alert.severity, self._config.min_severity)
        if not (meant or self._words.fires(alert.key)):
            return
        if (oldest := self._words.take(alert)) is not None:
            self._give_up(oldest, f"more than {WAITING_LIMIT} are waiting")
        WAITING.labels(self._config.name).set(self._words.waiting_count)
        self._arrived.set()

    async def _deliver_all(self) -> None:
        headers = {"User-Agent": f"gpuwarden/{VERSION}"}
        async with httpx.AsyncClient(timeout=self._patience.attempt_s, headers=headers) as client:
            while True:
                self._arrived.clear()
                while (alert := self._words.next(time.monotonic())) is not None:
                    WAITING.labels(self._config.name).set(self._words.waiting_count)
                    await self._deliver(client, alert)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), self._words.pause_s(time.monotonic()))

    async def _deliver(self, client: httpx.AsyncClient, alert: Notify) -> None:
        failed_before = self._words.failed_before
        try:
            await (self._attempt(client, alert) if failed_before else self._try(client, alert))
        except _Again as why:
            self._words.failed(time.monotonic(), alert)
            if not failed_before:
                self._give_up(alert, f"{why}; will try again every {self._patience.retry_s:g} s")
        except _Refused as why:
            self._words.unwanted()
            self._give_up(alert, str(why))
        except asyncio.CancelledError:
            self._give_up(alert, "the controller is stopping")
            raise
        else:
            self._words.arrived(time.monotonic(), alert)
            self._count("delivered")
            _log.info("%s: told of %s, %s", self._config.name, alert.title, "firing" if alert.firing else "resolved")

    async def _try(self, client: httpx.AsyncClient, alert: Notify) -> None:
        for failed in range(1, self._patience.attempts):
            try:
                return await self._attempt(client, alert)
            except _Again as why:
                RETRIES.labels(self._config.name).inc()
                _log.info("%s: attempt %d failed, will try again: %s", self._config.name, failed, why)
                await asyncio.sleep(max(why.after_s, self._patience.pause_s(failed)))
        await self._attempt(client, alert)

    async def _attempt(self, client: httpx.AsyncClient, alert: Notify) -> None:
        """Returns if it was delivered. The deadline is for all of it: a receiver that drips its answer does not hold us."""
        reach = self._reached()
        post = FORMS[self._config.form](alert, Occasion(self._cluster, reach.routing_key, self._words.told(alert.key)))
        try:
            async with (
                asyncio.timeout(self._patience.attempt_s),
                client.stream("POST", reach.url, content=post.body, headers=reach.headers(post, int(time.time()))) as answer,
            ):
                status, after = answer.status_code, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise _Again(f"no answer within {self._patience.attempt_s:g} s") from None
        except httpx.RequestError as why:
            raise _Again(f"{type(why).__name__} {why}".strip()) from None
        if status in (408, 429) or status >= 500:
            raise _Again(f"was answered {status}", _seconds(after))
        if not 200 <= status < 300:
            raise _Refused(f"was answered {status}")

    def _reached(self) -> Reach:
        try:
            return read_reach(self._config)
        except ConfigError as why:
            raise _Again(str(why)) from None

    def _give_up(self, alert: Notify, why: str) -> None:
        self._count("given_up")
        _log.warning("%s: gave up telling of %s: %s", self._config.name, alert.title, why)

    def _count(self, outcome: str) -> None:
        ALERTS.labels(self._config.name, outcome).inc()


def _seconds(retry_after: str) -> float:
    """What Retry-After asks for, bounded; 0 if it is absent or a date."""
    return min(float(retry_after), MOST_RETRY_AFTER_S) if retry_after.isascii() and retry_after.isdigit() else 0.0


class Webhooks:
    """All receivers."""

    def __init__(self, configs: Sequence[WebhookConfig], cluster: str = "gpuwarden", patience: Patience | None = None) -> None:
        self._all = [Webhook(config, patience or Patience(), cluster) for config in configs]

    def tell(self, alert: Notify) -> None:
        for webhook in self._all:
            webhook.tell(alert)

    def close(self) -> None:
        for webhook in self._all:
            webhook.close()
