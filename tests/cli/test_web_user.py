"""`gpuwarden config web-user`: the password comes in by the input only, and the file is its owner's alone."""

import io
from pathlib import Path

import pytest

from gpuwarden.cli.main import main
from gpuwarden.controller.web.users import Role, Users, read_users
from gpuwarden.core.config import ConfigError

PASSWORD = "Blätter im Wind"


def web_user(monkeypatch: pytest.MonkeyPatch, file: Path, name: str, role: str, password: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    return main(["config", "web-user", name, "--role", role, "--out", str(file)])


def test_a_user_is_made_and_changed_and_the_rest_of_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "users"
    assert web_user(monkeypatch, file, "ada", "viewer", PASSWORD) == 0
    file.write_text("# the night shift\n" + file.read_text())
    assert web_user(monkeypatch, file, "vic", "viewer", PASSWORD) == 0
    assert web_user(monkeypatch, file, "ada", "operator", PASSWORD + "!") == 0
    users = read_users(file)
    assert {user.name: user.role for user in users.values()} == {"ada": Role.OPERATOR, "vic": Role.VIEWER}
    assert users["ada"].secret.matches(PASSWORD + "!") and not users["ada"].secret.matches(PASSWORD)
    assert users["vic"].secret.matches("Bla\u0308tter im Wind"), "the same letters, typed elsewhere"
    assert file.stat().st_mode & 0o777 == 0o600 and file.read_text().startswith("# the night shift\n")
    assert [path.name for path in tmp_path.iterdir()] == ["users"]
    assert PASSWORD not in file.read_text() and users["ada"].secret.salt != users["vic"].secret.salt


@pytest.mark.parametrize(
    ("name", "password", "says"),
    [
        ("ada", "short", "password: has 5 characters, should have at least 12"),
        ("ada", "with a \x07 bell in it", "password: should be at most 1024 printable characters"),
        ("ada", "x" * 1025, "password: should be at most 1024 printable characters"),
        ("ada:operator", PASSWORD, "NAME: is 'ada:operator', should be letters"),
        ("ada on the page", PASSWORD, "NAME: is 'ada on the page', should be letters"),
        ("#ada", PASSWORD, "NAME: is '#ada', should be letters"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, password: str, says: str
) -> None:
    assert web_user(monkeypatch, tmp_path / "users", name, "viewer", password) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_wrong_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "users"
    file.touch(mode=0o600)
    file.write_text("something else entirely\n")
    assert web_user(monkeypatch, file, "ada", "viewer", PASSWORD) == 2
    assert file.read_text() == "something else entirely\n"


GOOD = "$scrypt$ln=15,r=8,p=3$" + "A" * 22 + "$" + "A" * 43


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ada\n", "users:1: should be NAME:ROLE:HASH"),
        (f"\n# x\nada:boss:{GOOD}\n", "users:3: the role of ada is 'boss', should be one of viewer, operator, admin"),
        ("ada:viewer:plain text\n", "users:1: the hash is not $scrypt$"),
        (f"ada:viewer:{GOOD.replace('ln=15', 'ln=8')}\n", "users:1: the hash's cost is ln=8, p=3"),
        (f"ada:viewer:{GOOD.replace('ln=15', 'ln=30')}\n", "users:1: the hash's cost is ln=30, p=3"),
        (f"ada:viewer:{GOOD}\nada:operator:{GOOD}\n", "users:2: user ada is there already"),
        ("\n".join(f"u{n}:viewer:{GOOD}" for n in range(1001)), "has 1001 users, at most 1000"),
    ],
)
def test_each_wrong_line_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "users"
    file.touch(mode=0o600)
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Users(file)
    assert says in str(caught.value) and "AAAA" not in str(caught.value)


def test_a_file_that_others_may_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("")
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=f"others may read it; chmod 600 {file}"):
        Users(file)
