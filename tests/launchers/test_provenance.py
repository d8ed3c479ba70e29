"""What is remembered of the machine that prepared a launch."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from llmtrain.launchers.provenance import Code, code, provenance


def git(folder: Path, *arguments: str) -> str:
    """Run git in ``folder`` as somebody who has a name."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_a_clean_checkout(checkout: Path) -> None:
    """Its commit, and nothing that differs."""
    found = code(checkout)

    assert (found.commit, found.diff) == (git(checkout, "rev-parse", "HEAD"), "")


def test_a_changed_checkout(checkout: Path) -> None:
    """The difference is plain text, whatever the user's git is told to show."""
    git(checkout, "config", "color.ui", "always")
    git(checkout, "config", "diff.external", "false")
    (checkout / "code.py").write_text("a = 2\n")

    assert code(checkout).diff.splitlines()[-2:] == ["-a = 1", "+a = 2"]


def test_what_no_difference_shows(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that git does not know are named; of a long difference there is a digest."""
    (checkout / ".gitignore").write_text("*.pyc\n")
    (checkout / "a.pyc").touch()
    (checkout / "new.py").touch()
    (checkout / "code.py").write_text("a = 2\n")
    monkeypatch.setattr("llmtrain.launchers.provenance.DIFF_BYTES", 10)
    found = provenance(program=str(checkout / "code.py")).program

    assert found and found.untracked == (".gitignore", "new.py")
    assert found.diff.startswith("not kept: ") and len(found.diff) < 120


def test_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit; nor without git."""
    assert code(tmp_path) == Code(path=str(tmp_path), is_here=True)
    assert code(tmp_path / "gone") == Code(path=str(tmp_path / "gone"))

    monkeypatch.setenv("PATH", str(tmp_path))

    assert code(tmp_path).commit is None


def test_the_interpreter_and_its_packages(tmp_path: Path) -> None:
    """Those that change what a run computes; None where one is not installed."""
    found = provenance(here=tmp_path)

    assert found.python == sys.executable
    assert set(found.packages) == {
        *("torch", "megatron-core", "deepspeed", "numpy", "hydra-core", "omegaconf")
    }
    assert found.packages["omegaconf"] == version("omegaconf")
