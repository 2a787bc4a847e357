"""How an agent is told to reach a BMC."""

from pathlib import Path

from fakes.redfish.service import PASSWORD, USER
from services.certificate import Certificate

from gpuwarden.agent.config import BmcConfig


def reach(url: str, folder: Path, proof: Certificate, password: str = PASSWORD) -> BmcConfig:
    """The password goes into a file in `folder`."""
    file = folder / "password"
    file.write_text(password + "\n")
    file.chmod(0o600)
    return BmcConfig(url=url, user=USER, password_file=file, ca_file=proof.certificate)
