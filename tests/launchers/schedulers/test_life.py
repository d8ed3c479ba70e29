"""One life of a run at a time, on this machine: taken, refused, taken over."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrain.launchers.shell import package_text

FUNCTIONS = package_text("life.sh") + package_text("life-here.sh")
HOLD = f"set -euo pipefail\n{FUNCTIONS}\nhold_run\necho $LLMTRAIN_LIFE\nexec sleep 60"
"""A job that does nothing."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    """What a test starts; it is killed in the end."""
    (tmp_path / "control").mkdir()
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def hold(folder: Path, started: list["subprocess.Popen[str]"]) -> "subprocess.Popen[str]":
    """Start the job in the run's folder."""
    process = subprocess.Popen(
        ["bash", "-c", HOLD],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "LLMTRAIN_SETTLE_SECONDS": "6"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def life_of(process: "subprocess.Popen[str]") -> str:
    """What it says when it has begun; nothing if it was refused."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_start_is_refused_while_the_first_lives(
    tmp_path: Path, started: list["subprocess.Popen[str]"]
) -> None:
    """With status 5; when the first is gone, however it went, the next life begins."""
    first = hold(tmp_path, started)
    assert life_of(first) == "1"
    second = hold(tmp_path, started)
    assert life_of(second) == ""
    assert second.wait(60) == 5

    first.kill()
    first.wait()

    assert life_of(hold(tmp_path, started)) == "2"
    assert (tmp_path / "control" / "life").read_text().split()[0] == "2"


def test_of_many_that_begin_at_once_one_does(
    tmp_path: Path, started: list["subprocess.Popen[str]"]
) -> None:
    """The others are refused."""
    for _ in range(8):
        hold(tmp_path, started)

    assert sorted(map(life_of, started)) == ["", "", "", "", "", "", "", "1"]


@pytest.mark.parametrize("beats", [True, False])
def test_a_holder_on_another_machine(
    tmp_path: Path, started: list["subprocess.Popen[str]"], beats: bool
) -> None:
    """It lives while it writes into control/alive."""
    (tmp_path / "control" / "life").write_text("3 elsewhere:1:1\n")
    alive = tmp_path / "control" / "alive"
    alive.write_text("3 0\n")
    process = hold(tmp_path, started)
    end = time.monotonic() + 8
    while beats and process.poll() is None and time.monotonic() < end:
        alive.write_text(f"3 {time.monotonic()}\n")
        time.sleep(0.1)

    assert life_of(process) == ("" if beats else "4")


def test_a_life_that_was_claimed_and_never_begun_blocks_nobody(
    tmp_path: Path, started: list["subprocess.Popen[str]"]
) -> None:
    """Its holder died between the two steps."""
    lives = tmp_path / "control" / "lives"
    lives.mkdir()
    (lives / "1").write_text("1 elsewhere:1:1\n")

    assert life_of(hold(tmp_path, started)) == "2"


def test_a_link_to_what_is_not_mounted(tmp_path: Path) -> None:
    """Checkpoints that are elsewhere, and not there: the job ends before a life is taken."""
    (tmp_path / "control").mkdir()
    script = f"set -euo pipefail\n{FUNCTIONS}\nrequire_checkpoints\nhold_run"
    (tmp_path / "checkpoints").symlink_to(tmp_path / "scratch")

    def begun() -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    says = f"llmtrain: checkpoints is a link to {tmp_path}/scratch, which is not there\n"
    assert begun() == (5, says)
    assert not (tmp_path / "control" / "life").exists()
    (tmp_path / "scratch").mkdir()
    assert begun() == (0, "")


def test_checkpoints_in_a_place_of_the_sites(tmp_path: Path) -> None:
    """A link to a folder of the run's name there, made once; one with content is refused."""
    run, place = tmp_path / "tiny-1", tmp_path / "big disk"
    script = f"set -euo pipefail\n{FUNCTIONS}\ncheckpoints_in=$1\nmake_checkpoints"

    def made() -> tuple[int, str]:
        words = ["bash", "-c", script, "-", str(place)]
        done = subprocess.run(words, cwd=run, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout

    run.mkdir()
    assert made() == (0, "")
    assert (run / "checkpoints").resolve() == place / "tiny-1"
    (place / "tiny-1" / "step-1").mkdir()
    assert made() == (0, "")
    (run / "checkpoints").unlink()
    status, said = made()
    assert (status, "site.checkpoints" in said) == (1, True)
    assert not (run / "checkpoints").exists()
