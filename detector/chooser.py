"""Which models of health judge: looks at the registry's pointers once a minute, and reads what they name before the machine is told."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from gpuwarden.detector.events import Chosen
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.health.stored import understood
from gpuwarden.detector.registry.refused import BadModel
from gpuwarden.detector.registry.shelf import Registry

LOOK_S: Final = 60.0
OVER_S: Final = 2.0  # to be told to stop; a model may take minutes to read, and is left then

_log = logging.getLogger("gpuwarden.detector")


class Chooser:
    """A thread of its own. What cannot be used is said once, and what judged before goes on."""

    def __init__(
        self, registry: Registry, models: dict[str, Learned], put: Callable[[Chosen], None], stop: threading.Event, look_s: float = LOOK_S
    ) -> None:
        """`models` is the machine's: filled before `put`, and rid of what was replaced before that."""
        self._registry, self._models, self._put, self._stop, self._look_s = registry, models, put, stop, look_s
        self._live: str | None = None
        self._shadow: str | None = None
        self._refused = dict[str, str]()
        self._thread = threading.Thread(target=self._run, name="chooser", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(self._look_s)

    def _look(self) -> None:
        try:
            pointers = self._registry.pointers()
        except BadModel as why:
            self._say("pointers", why)
            return
        live = self._live if pointers.live is not None and not self._at_hand(pointers.live) else pointers.live
        shadow = pointers.shadow if pointers.shadow is not None and self._at_hand(pointers.shadow) else None
        if (live, shadow) != (self._live, self._shadow):
            for gone in self._models.keys() - {live, shadow, self._live, self._shadow}:
                del self._models[gone]
            self._live, self._shadow = live, shadow
            self._put(Chosen(live, shadow, time.time_ns()))

    def _at_hand(self, model_id: str) -> bool:
        """Reads it if it is not."""
        if model_id not in self._models:
            try:
                self._models[model_id] = understood(self._registry.load(model_id))
            except BadModel as why:
                self._say(model_id, why)
        return model_id in self._models

    def _say(self, what: str, why: BadModel) -> None:
        if self._refused.get(what) != str(why):
            self._refused = {what: str(why)} if len(self._refused) > 2 else {**self._refused, what: str(why)}
            _log.error("health: %s; what judged before goes on", why)

    def close(self) -> None:
        """Call it when `stop` is set."""
        self._thread.join(OVER_S)
