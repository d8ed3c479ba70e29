"""A run that has gone on without a rank is not written to by it any more."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmtrain.trainer import checkpoint_folder
from llmtrain.trainer.life import Life, Superseded

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab


def begun(folder: Path, number: int) -> None:
    """Say that this life has begun, as the scripts do."""
    (folder / "control").mkdir(exist_ok=True)
    (folder / "control" / "life").write_text(f"{number} whoever 0 0\n")


def test_a_newer_life_ends_the_older_one(lab: Lab) -> None:
    """It ends with status 6; the metrics, the events and the checkpoints are the newer one's."""
    trial = lab.trial(100_000, checkpoint={"interval": 1, "keep": 9, "async": False})
    begun(trial.folder, 1)
    process = subprocess.Popen(
        trial.command(), env=trial.environment() | {"LLMTRAIN_LIFE": "1"}, stderr=subprocess.PIPE
    )
    while len(trial.lines("metrics")) < 3:
        assert process.poll() is None
        time.sleep(0.05)

    process.send_signal(signal.SIGSTOP)
    begun(trial.folder, 2)
    before = len(trial.lines("metrics")), len(trial.lines("events"))
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=180)

    assert process.returncode == 6
    after = len(trial.lines("metrics")), len(trial.lines("events"))
    # Where it had asked already when it was stopped, it writes what it was about to.
    assert all(end - start <= 1 for start, end in zip(before, after, strict=True))
    assert "failed" not in [event for event, _ in trial.events()]
    assert "life 2 of this run has begun" in trial.logs()


@pytest.mark.parametrize(("mine", "newest"), [("1", "2"), ("2", "2"), ("", "2"), ("1", "")])
def test_only_a_larger_number_counts(tmp_path: Path, mine: str, newest: str) -> None:
    """Without a number of its own, or without a record, a rank goes on."""
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "life").write_text(f"{newest} job 0 0\n" if newest else "")
    life = Life.read(tmp_path, {"LLMTRAIN_LIFE": mine})
    if (mine, newest) == ("1", "2"):
        assert life.newer() == 2
        with pytest.raises(Superseded, match="life 2 of this run has begun; this is life 1"):
            life.require()
    else:
        assert life.newer() is None
        life.require()


def test_two_lives_do_not_write_into_one_folder(tmp_path: Path) -> None:
    """Also where they are at the same step; complete they have the same name."""
    first, second, alone = (
        checkpoint_folder.partial_of(tmp_path, 8, life) for life in (1, 2, None)
    )

    assert [path.name for path in (first, second, alone)] == [
        *("step-00000008.1.partial", "step-00000008.2.partial", "step-00000008.partial")
    ]
    complete = {checkpoint_folder.complete_of(path) for path in (first, second, alone)}
    assert complete == {tmp_path / "step-00000008"}
