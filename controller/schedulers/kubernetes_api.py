"""The Kubernetes API through the official client: what it says as plain JSON, a deadline for each call whatever the server does, and nothing tried twice.

Of the client the parts are used that have to be right: kubeconfig, service account, certificates, tokens that are renewed. It is loaded with the
first call, since that takes a second and 40 MB.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Generic, TypeAlias, TypeVar

from gpuwarden.controller.schedulers.names import shown
from gpuwarden.controller.schedulers.scheduler import Unreachable

MANAGER: Final = "gpuwarden"  # who has changed a field, as the API server notes it
MOST_BYTES: Final = 64 << 20  # of one answer
PAGE: Final = 500  # objects in one answer, as kubectl asks for them
MOST_PAGES: Final = 400
LISTS: Final = 3  # deadlines of one call: a list comes in pages
_MOST_SAID_CHARS: Final = 300
_BUDGET: Final = "DisruptionBudget"
_MERGE: Final = "application/merge-patch+json"

Row: TypeAlias = Mapping[str, Any]
T = TypeVar("T")


class Absent(Exception):
    """There is no such object, or no such kind of object in this cluster."""


class Conflict(Exception):
    """Somebody else has changed it since it was read: nothing was done."""


class Declined(Exception):
    """It answered, and did not do it: why."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    document: Any

    @property
    def why(self) -> str:
        said = self.document.get("message") if isinstance(self.document, dict) else None
        words = (str(self.status), *([str(said)] if said else []), *(str(cause.get("message")) for cause in self.causes))
        return ": ".join(words)[:_MOST_SAID_CHARS]

    @property
    def causes(self) -> list[Row]:
        """Of a Status: a budget's no is one."""
        details = self.document.get("details") if isinstance(self.document, dict) else None
        causes = details.get("causes") if isinstance(details, dict) else None
        return [cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else []


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T]):
    """Of a call: what it returned, or why it did not."""

    result: T | None = None
    why: Exception | None = None


class Api:
    """One thread at a time may call. `kubeconfig`: a file; empty: the service account of the pod that we run in."""

    def __init__(self, kubeconfig: str, call_s: float) -> None:
        self._kubeconfig, self._call_s = kubeconfig, call_s
        self._client: Any = None
        self._raised: tuple[type[Exception], ...] = ()
        self._hangs: Thread | None = None

    def get(self, path: str) -> Row:
        """Absent, Unreachable."""
        return _object(self._within(self._call_s, path, lambda: self._read(path, {})), path)

    def listed(self, path: str, **query: str) -> Sequence[Row]:
        """All of them, as of one time. Unreachable."""
        try:
            return self._all(path, query)
        except Absent as why:
            raise Unreachable(str(why)) from None

    def listed_if_known(self, path: str) -> Sequence[Row]:
        """The same; none where the cluster has no such kind of object."""
        try:
            return self._all(path, {})
        except Absent:
            return []

    def patch(self, path: str, body: Row) -> None:
        """A merge patch, on the condition of the resource version in it. Absent, Conflict, Declined, Unreachable."""
        query = {"fieldManager": MANAGER}
        _done(self._within(self._call_s, path, lambda: self._asked("PATCH", path, query, body, _MERGE)), path)

    def evict(self, path: str, body: Row) -> None:
        """Absent, Conflict where another pod has the name by now, Declined where a budget says no, Unreachable."""
        _done(self._within(self._call_s, path, lambda: self._asked("POST", path, {}, body, "application/json")), path)

    def _all(self, path: str, query: Mapping[str, str]) -> Sequence[Row]:
        return self._within(LISTS * self._call_s, path, lambda: list(self._pages(path, query)))

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[Row]:
        more = ""
        for _ in range(MOST_PAGES):
            page = self._read(path, {**query, "limit": str(PAGE), **({"continue": more} if more else {})})
            items = page.document.get("items") if isinstance(page.document, dict) else None
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise Unreachable(f"{path}: items: is no list of objects")
            yield from items
            more = str((page.document.get("metadata") or {}).get("continue") or "")
            if not more:
                return
        raise Unreachable(f"{path}: more than {MOST_PAGES * PAGE} objects")

    def _read(self, path: str, query: Mapping[str, str]) -> _Answer:
        answer = self._asked("GET", path, query, None, "")
        if answer.status == 404:
            raise Absent(f"{path}: {answer.why}")
        if answer.status != 200:
            raise Unreachable(f"{path}: {answer.why}")
        return answer

    def _asked(self, verb: str, path: str, query: Mapping[str, str], body: Row | None, content: str) -> _Answer:
        """Of the client's parts the lower ones: its models would refuse what a newer server says, and take ten times as long."""
        if self._client is None:
            self._client, self._raised = _loaded(self._kubeconfig)
        headers = {"Accept": "application/json"} | ({"Content-Type": content} if content else {})
        asked = self._client.param_serialize(
            verb, path, query_params=list(query.items()), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            answer = self._client.call_api(*asked, _request_timeout=(self._call_s, self._call_s)).response
            said = answer.read(MOST_BYTES + 1)
            (answer.release_conn if len(said) <= MOST_BYTES else answer.close)()
        except self._raised as why:
            raise Unreachable(f"{path}: {_words(why)}") from None
        if len(said) > MOST_BYTES:
            raise Unreachable(f"{path}: says more than {MOST_BYTES} bytes")
        try:
            return _Answer(answer.status, json.loads(said))
        except (ValueError, RecursionError):
            text = f"no JSON, but {shown(said[:80].decode(errors='replace'))}"
        if answer.status < 300:
            raise Unreachable(f"{path}: {answer.status}: {text}")
        return _Answer(answer.status, {"message": text})  # where it has no such kind at all, it says so in plain text

    def _within(self, most_s: float, path: str, call: Callable[[], T]) -> T:
        """In a thread that is given up at the deadline: the client's own timeouts begin again with every byte. While one has not ended, no other call is begun."""
        if self._hangs is not None and self._hangs.is_alive():
            raise Unreachable(f"{path}: an earlier call has not ended yet")
        ended: SimpleQueue[_Ended[T]] = SimpleQueue()
        self._hangs = Thread(target=_told, args=(call, ended), name="kubernetes", daemon=True)
        self._hangs.start()
        try:
            found = ended.get(timeout=most_s)
        except Empty:
            raise Unreachable(f"{path}: no answer within {most_s:g} s") from None
        self._hangs.join()
        if found.why is not None:
            raise found.why
        return found.result  # type: ignore[return-value]  # without a reason it is what the call returned


def _told(call: Callable[[], T], ended: "SimpleQueue[_Ended[T]]") -> None:
    """What is not foreseen ends the thread, and is printed as that."""
    told: _Ended[T] = _Ended(why=Unreachable("the client of Kubernetes has broken: the log says where"))
    try:
        told = _Ended(call())
    except (Absent, Conflict, Declined, Unreachable) as why:
        told = _Ended(why=why)
    finally:
        ended.put(told)


def _loaded(kubeconfig: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """The client, and what it raises where no answer comes."""
    try:
        from kubernetes import client, config
    except ImportError:
        raise Unreachable("the Python package kubernetes is not installed: pip install 'gpuwarden[kubernetes]'") from None
    settings = client.Configuration()
    no_yaml = import_module("yaml").YAMLError
    try:
        if kubeconfig:
            config.load_kube_config(kubeconfig, client_configuration=settings, persist_config=False)
        else:
            config.load_incluster_config(settings)
    except (config.ConfigException, no_yaml, OSError, ValueError, TypeError, KeyError) as why:
        raise Unreachable(f"{kubeconfig or 'the service account of our own pod'}: {_words(why)}") from None
    settings.retries = False  # an order is given once, and what is tried again is decided above
    made = client.ApiClient(settings)
    made.user_agent = MANAGER
    return made, (client.ApiException, import_module("urllib3").exceptions.HTTPError, OSError, ValueError)


def _words(why: Exception) -> str:
    return f"{type(why).__name__}: {str(why)[:_MOST_SAID_CHARS]}"


def _object(answer: _Answer, path: str) -> Row:
    if not isinstance(answer.document, dict):
        raise Unreachable(f"{path}: is no object")
    return answer.document


def _done(answer: _Answer, path: str) -> None:
    """A server that is overloaded also answers 429, without a budget as its cause: then nobody knows how it stands."""
    if 200 <= answer.status < 300:
        return
    if answer.status == 404:
        raise Absent(f"{path}: {answer.why}")
    if answer.status == 409:
        raise Conflict(f"{path}: {answer.why}")
    if answer.status == 429 and all(cause.get("reason") != _BUDGET for cause in answer.causes):
        raise Unreachable(f"{path}: {answer.why}")
    if answer.status >= 500:
        raise Unreachable(f"{path}: {answer.why}")
    raise Declined(answer.why)
