"""The check of the program's checkout, against checkouts that git made."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.launchers import checkout
from llmtrain.launchers.launch import Launch

VERSION = "core_v0.16.1"


def git(folder: Path, *arguments: str) -> str:
    """What git says."""
    named = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", str(folder), *named, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, text: str) -> str:
    """A new commit of the program."""
    (folder / "pretrain_gpt.py").write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def program(tmp_path: Path) -> tuple[Path, str]:
    """A checkout with history, and its first commit."""
    folder = tmp_path / "megatron"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder, commit(folder, "one")


def wanted(path: Path, commit: str) -> dict[str, str]:
    """What checkout.json would say."""
    names = {"program": "megatron-lm", "version": VERSION, "release": "0.16"}
    return {**names, "path": str(path), "commit": commit}


def test_the_same_commit_is_silent(program: tuple[Path, str], tmp_path: Path) -> None:
    """On a branch, packed, detached, and in a worktree."""
    folder, first = program
    git(folder, "worktree", "add", "-q", str(tmp_path / "other"))
    for path, prepare in (
        (folder, ()),
        (folder, ("pack-refs", "--all")),
        (folder, ("checkout", "-q", first)),
        (tmp_path / "other", ()),
    ):
        if prepare:
            git(folder, *prepare)
        assert checkout.head_of(str(path)) == first
        assert checkout.different(wanted(path, first)) == ("", "")


def test_another_commit_is_told_from_one_on_top(program: tuple[Path, str]) -> None:
    """Commits of one's own on the release are a remark; another history is a mistake."""
    folder, first = program
    second = commit(folder, "two")
    wrong, remark = checkout.different(wanted(folder, first))
    assert not wrong and f"at {second[:10]}, which has commits on top of megatron-lm" in remark

    git(folder, "checkout", "-q", first)
    wrong, remark = checkout.different(wanted(folder, second))
    assert not remark and f"is at {first[:10]}, not at megatron-lm {VERSION}" in wrong
    assert "set `backend.version`" in wrong


def test_without_history_the_package_tells_its_release(tmp_path: Path) -> None:
    """As in a container; where even that is missing it is said that nothing can be told."""
    (tmp_path / "pretrain_gpt.py").touch()
    assert "cannot be told" in checkout.different(wanted(tmp_path, "0" * 40))[1]

    (tmp_path / "megatron" / "core").mkdir(parents=True)
    package = tmp_path / checkout.PACKAGE
    package.write_text("MAJOR = 0\nMINOR = 12\nPATCH = 0\n")
    assert "is megatron-core 0.12, not 0.16" in checkout.different(wanted(tmp_path, "0" * 40))[0]

    package.write_text("MAJOR = 0\nMINOR = 16\nPATCH = 1\n")
    assert checkout.different(wanted(tmp_path, "0" * 40))[0] == ""


@pytest.mark.parametrize(("policy", "status"), [("fail", 5), ("warn", 0)])
def test_a_program_that_is_not_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    policy: str,
    status: int,
) -> None:
    """Fails or warns, and names the key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkout.json").write_text(json.dumps(wanted(tmp_path / "no", "0" * 40)))

    assert checkout.main([policy]) == status
    assert "which `backend.path` names" in capsys.readouterr().err


def test_the_job_runs_the_check(launch_of: Callable[..., Launch]) -> None:
    """With the commit whose parser was read; a user's own script has none."""
    asked = ("recipe=llama2-7b", "backend.path=/opt/megatron")
    launch = launch_of(*asked, f"backend.version={VERSION}")
    expected = json.loads(launch.files["checkout.json"])

    assert expected["commit"] == "55ac7082517c3878ae653c07c09c534b8aed49f6"
    assert (expected["path"], expected["release"]) == ("/opt/megatron", "0.16")
    assert '"$LLMTRAIN_PYTHON" checkout.py fail\n' in launch.files["job.sh"]
    assert "checkout.py" not in launch_of(*asked, "site.probe=off").files["job.sh"]
    assert "checkout.json" not in launch_of(*asked, "backend=deepspeed").files
