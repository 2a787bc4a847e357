"""OpenStack's Redfish emulator, sushy-emulator, with its fake driver: TLS, basic authentication, somebody else's idea of a BMC."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
from services.certificate import Certificate
from services.port import free_port, wait_until_open

START_S = 30.0


@contextmanager
def running(folder: Path, certificate: Certificate, user: str, password: str) -> Iterator[str]:
    """The service's address. Its files are all in `folder`."""
    port = free_port()
    (folder / "htpasswd").write_text(f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n")
    settings = {
        "SUSHY_EMULATOR_LISTEN_IP": "127.0.0.1",
        "SUSHY_EMULATOR_LISTEN_PORT": port,
        "SUSHY_EMULATOR_SSL_CERT": str(certificate.certificate),
        "SUSHY_EMULATOR_SSL_KEY": str(certificate.key),
        "SUSHY_EMULATOR_AUTH_FILE": str(folder / "htpasswd"),
        "SUSHY_EMULATOR_STATE_DIR": str(folder),
    }
    (folder / "settings.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    command = [Path(sys.executable).with_name("sushy-emulator"), "--fake", "--config", folder / "settings.py"]
    with (folder / "out").open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        wait_until_open(port, server, folder / "out", START_S)
        yield f"https://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
