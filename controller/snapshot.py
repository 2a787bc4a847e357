"""The newest snapshot of the cluster, for whoever shows it."""

from gpuwarden.proto.control_pb2 import WatchResponse


class Board:
    """One writer, readers in any thread. Nobody changes a snapshot that hangs here."""

    def __init__(self) -> None:
        self._newest: WatchResponse | None = None

    def publish(self, snapshot: WatchResponse) -> None:
        self._newest = snapshot

    def newest(self) -> WatchResponse | None:
        """None until the first is published; then a new object for every change."""
        return self._newest
