"""The controller's configuration."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from gpuwarden.controller.actuators import FORMS
from gpuwarden.controller.actuators.severity import SEVERITIES
from gpuwarden.controller.alerts import AlertSetup
from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.maintenance import Window
from gpuwarden.controller.out_of_band_config import OutOfBandConfig
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.racks import RackConfig
from gpuwarden.controller.telling import TellTiming
from gpuwarden.controller.web.certificate import WebTls
from gpuwarden.core.address import Address
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.config import ConfigError, option
from gpuwarden.core.private import read_key

_HOST_NAME: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Somebody who is told of alerts."""

    name: str = option("name of the webhook, for log lines and metrics")
    url: str = option("where to POST; never logged. An address that is a secret belongs in url_file", default="")
    url_file: Path | None = option("file with the address and nothing else, for its owner only; instead of url", default=None)
    form: str = option("what is posted: cloudevents, slack, alertmanager or pagerduty", default="cloudevents")
    min_severity: str = option("tell of info, of warning or of critical and what is above", default="warning")
    level: int = option("1: told at once; 2: told of what nobody has acknowledged for escalate_after_s", default=1)
    secret_file: Path | None = option("file with a secret that signs every post (Standard Webhooks); without it none is signed", default=None)
    routing_key_file: Path | None = option("file with PagerDuty's integration key", default=None)

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if bool(self.url) == (self.url_file is not None):
            yield "url, url_file: exactly one of them should be given"
        if self.url and not is_http(self.url):
            yield "url: should be http://... or https://..."
        if self.form not in FORMS:
            yield f"form: is {self.form!r}, should be {' or '.join(FORMS)}"
        if (self.form == "pagerduty") != (self.routing_key_file is not None):
            yield "routing_key_file: goes with form pagerduty, and only with that"
        if self.level not in (1, 2):
            yield f"level: is {self.level}, should be 1 or 2"
        if self.min_severity not in SEVERITIES:
            yield f"min_severity: is {self.min_severity!r}, should be {', '.join(SEVERITIES)}"


@dataclass(frozen=True, slots=True)
class HeartbeatConfig:
    """A watcher of watchers: it calls a person when it no longer hears from us."""

    url: str = option("where to POST; never logged. An address that is a secret belongs in url_file", default="")
    url_file: Path | None = option("file with the address and nothing else, for its owner only; instead of url", default=None)
    every_s: float = option("how often", default=60.0)

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if bool(self.url) == (self.url_file is not None):
            yield "url, url_file: exactly one of them should be given"
        if self.url and not is_http(self.url):
            yield "url: should be http://... or https://..."
        if not 1 <= self.every_s <= 3600:
            yield f"every_s: is {self.every_s:g}, should be 1 to 3600"


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Everything a controller is told from outside."""

    ledger_file: Path = option("SQLite file of the ledger, with the epoch and what operators have set")
    keys_dir: Path = option("folder with the key of every node, NODE.key; `gpuwarden config node-keys` makes them")
    domains: tuple[DomainConfig, ...] = option("the power domains; a node is in one of them")
    listen: Address = option("gRPC for agents and operators", default=Address("127.0.0.1", 7443))
    tls_dir: Path | None = option("folder with ca.crt, tls.crt, tls.key; with it every caller of `listen` and `metrics_listen` shows a certificate", default=None)
    metrics_listen: Address | None = option("Prometheus metrics; without it none", default=None)
    web_listen: Address | None = option("the web page; without it none", default=None)
    web_users_file: Path | None = option(
        "who may log in to the page, made by `gpuwarden config web-user`; without it the page is read-only", default=None
    )
    web_tls: WebTls | None = option("the page's certificate; without it http, on loopback only", default=None)
    web_hosts: tuple[str, ...] = option("further host names that the page goes by; any other is refused", default=())
    cluster: str = option("name of the cluster in what is told to webhooks; without it the controller's id, which is its ledger's", default="")
    lease_s: float = option("how long a grant holds without the next; then the node goes to its floor", default=5.0)
    stale_s: float = option("a node that has been silent for so long is stale", default=3.0)
    bus: BusConfig | None = option("where findings come from; without it power works all the same", default=None)
    webhooks: tuple[WebhookConfig, ...] = option("who is told of alerts", default=())
    out_of_band: OutOfBandConfig | None = option("nodes' BMCs, for nodes that no limiter answers for; without it they are left alone", default=None)
    isolation: IsolationConfig | None = option("which nodes are taken out of which jobs, and by whose word; without it none", default=None)
    heartbeat: HeartbeatConfig | None = option("who hears from us as long as decisions are made; without it nobody", default=None)
    racks: tuple[RackConfig, ...] = option("nodes that go down together: then that is one alert", default=())
    group_wait_s: float = option("alerts of one kind that begin within it are told as one", default=5.0)
    escalate_after_s: float = option("a critical alert that nobody has acknowledged is then told to level 2", default=900.0)
    repeat_s: float = option("what still fires and is not acknowledged is told again", default=14_400.0)

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        yield from self._listening()
        if not 2 <= self.lease_s <= 60:
            yield f"lease_s: is {self.lease_s:g}, should be 2 to 60"
        if not 1.5 <= self.stale_s <= self.lease_s:
            yield f"stale_s: is {self.stale_s:g}, should be 1.5 (reports come once a second) to lease_s ({self.lease_s:g})"
        if not self.domains:
            yield "domains: there is none"
        yield from _twice("domains.name", "domain", (domain.name for domain in self.domains))
        yield from _twice("domains.classes.nodes", "node", _nodes(self.domains))
        for key, seconds, least_s, most_s in (
            ("group_wait_s", self.group_wait_s, 0, 600),
            ("escalate_after_s", self.escalate_after_s, 0, 86_400),
            ("repeat_s", self.repeat_s, 60, 604_800),
        ):
            if not least_s <= seconds <= most_s:
                yield f"{key}: is {seconds:g}, should be {least_s} to {most_s:,}"
        yield from self._racks()
        if self.out_of_band is not None:
            yield from self._strangers("out_of_band.nodes", expand(self.out_of_band.nodes))
        if self.isolation is not None:
            yield from self._isolated(self.isolation)
        yield from _twice("webhooks.name", "webhook", (webhook.name for webhook in self.webhooks))

    def _isolated(self, isolation: IsolationConfig) -> Iterator[str]:
        for number, group in enumerate(isolation.groups):
            yield from self._strangers(f"isolation.groups[{number}].nodes", expand(group.nodes))
        for number, shared in enumerate(isolation.shared):
            yield from self._strangers(f"isolation.shared[{number}].nodes", expand(shared.nodes))
        yield from self._strangers("isolation.opt_out", expand(isolation.opt_out))

    def _racks(self) -> Iterator[str]:
        yield from _twice("racks.name", "rack", (rack.name for rack in self.racks))
        yield from _twice("racks.nodes", "node", (node for rack in self.racks for node in expand(rack.nodes)))
        for number, rack in enumerate(self.racks):
            yield from self._strangers(f"racks[{number}].nodes", expand(rack.nodes))

    def _strangers(self, key: str, nodes: Iterable[str]) -> Iterator[str]:
        known = set(self.nodes())
        if strange := [node for node in nodes if node not in known]:
            yield f"{key}: {', '.join(strange[:5])} in no power domain"

    def _listening(self) -> Iterator[str]:
        for key, address in (("listen", self.listen), ("metrics_listen", self.metrics_listen)):
            if address is not None and not address.loopback and self.tls_dir is None:
                yield f"{key}: is {address}, should be a loopback address such as 127.0.0.1 where there is no tls_dir"
        yield from self._page()

    def _page(self) -> Iterator[str]:
        for host in self.web_hosts:
            if not _HOST_NAME.fullmatch(host):
                yield f"web_hosts: is {host!r}, should be a host's name, without scheme and port"
        if self.web_listen is None:
            for key, given in (("web_users_file", self.web_users_file), ("web_tls", self.web_tls), ("web_hosts", self.web_hosts)):
                if given:
                    yield f"{key}: is for the page, and there is no web_listen"
        elif not self.web_listen.loopback:
            for key, given in (("web_users_file", self.web_users_file), ("web_tls", self.web_tls)):
                if not given:
                    yield f"{key}: is missing, and web_listen ({self.web_listen}) is no loopback address: others could listen in or look on"

    @property
    def timing(self) -> Timing:
        """A fresh controller listens for half a lease, so that it answers before any grant that it found has lapsed."""
        return Timing(self.lease_s, self.stale_s, learn_s=self.lease_s / 2)

    def alert_setup(self, windows: Iterable[Window]) -> AlertSetup:
        timing = TellTiming(self.group_wait_s, self.escalate_after_s, self.repeat_s)
        return AlertSetup(timing, self.racks, tuple(windows), self.heartbeat.every_s if self.heartbeat is not None else None)

    def nodes(self) -> tuple[str, ...]:
        return tuple(_nodes(self.domains))


def read_keys(config: ControllerConfig) -> dict[str, bytes]:
    """Each node's key; ConfigError with a line for every one that is absent or bad."""
    keys, wrong = dict[str, bytes](), list[str]()
    for node in config.nodes():
        try:
            keys[node] = read_key(config.keys_dir / f"{node}.key")
        except ConfigError as why:
            wrong.append(f"keys_dir: {why}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return keys


def is_http(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def _nodes(domains: tuple[DomainConfig, ...]) -> Iterator[str]:
    for domain in domains:
        for made in domain.classes:
            yield from expand(made.nodes)


def _twice(key: str, what: str, names: Iterator[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{key}: {what} {name!r} occurs {count} times, should be once"
