"""What only its owner may read, and what the service manager hands over."""

from pathlib import Path

import pytest

from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import read_private


@pytest.mark.parametrize("mode, good", [(0o440, True), (0o600, True), (0o444, False), (0o460, False)])
def test_a_credential_may_show_its_access_list_as_the_groups_right(
    mode: int, good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    credential = tmp_path / "tls.key"
    credential.write_text("secret\n")
    credential.chmod(mode)
    if good:
        assert read_private(credential) == "secret"
    else:
        with pytest.raises(ConfigError, match="others may read it"):
            read_private(credential)


def test_the_same_file_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/another.service")
    key = tmp_path / "tls.key"
    key.write_text("secret\n")
    key.chmod(0o440)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_private(key)
