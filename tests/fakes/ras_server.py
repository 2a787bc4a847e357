"""NCCL's RAS port, as far as its client protocol goes: says what it is given to say, and remembers what it was told."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gpuwarden.core.address import Address

RECORDED = Path(__file__).parents[1] / "recorded" / "nccl-2.28.9" / "ras_json.txt"


def recorded(host: str = "127.0.0.1") -> str:
    """What NCCL 2.28.9 answered, after its three lines of agreement; of another host."""
    return RECORDED.read_text().split("OK\n", 2)[2].replace("192.0.2.2", host)


@dataclass
class RasServer:
    """`answer` to VERBOSE STATUS; `says` to single commands otherwise than it should; `silent_at`: never answers this one."""

    answer: str
    says: dict[str, str] = field(default_factory=dict)
    silent_at: str = ""
    told: list[str] = field(default_factory=list)
    at: Address = field(default_factory=lambda: Address("127.0.0.1", 0))

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            for line in lines:
                command = line.decode().strip()
                self.told.append(command)
                if command == self.silent_at:
                    lines.read()
                    return
                if command == "VERBOSE STATUS":
                    connection.sendall(self.answer.encode())
                    return
                usual = command.replace("CLIENT", "SERVER") if command.startswith("CLIENT") else "OK"
                connection.sendall(f"{self.says.get(command, usual)}\n".encode())


@contextmanager
def serving(server: RasServer) -> Iterator[RasServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.at = Address("127.0.0.1", listener.getsockname()[1])

        def run() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=server.serve, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
