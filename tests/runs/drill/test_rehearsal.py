"""A drill passes where each life goes on from the newest checkpoint, and not else."""

import json
from pathlib import Path

import pytest

from llmtrain.config.errors import RunError
from llmtrain.runs.drill import rehearsal
from llmtrain.runs.drill.rehearsal import Rehearsal
from llmtrain.runs.progress import newest_checkpoint, steps_of


class Pretence:
    """A run that trains one step each time somebody looks, and saves every ten."""

    def __init__(
        self, folder: Path, *, loads: int | None = None, wrong: float = 0.0, noise: float = 0.0
    ) -> None:
        """``loads``: what later lives go on from, if not the newest.

        ``wrong``: added to their losses; ``noise``: to all.
        """
        self.folder, self.loads, self.wrong, self.noise = folder, loads, wrong, noise
        self.done, self.lives, self.alive = 0, 0, False
        for name in ("control", "checkpoints"):
            (folder / name).mkdir(parents=True)

    def start(self) -> None:
        """A life begins."""
        self.lives, self.alive = self.lives + 1, True
        self.done = newest_checkpoint(self.folder) if self.loads is None else self.loads
        (self.folder / "control" / "life").write_text(f"{self.lives} me\n")

    def goes_on(self) -> bool:
        """A step."""
        if self.alive:
            self.done += 1
            loss = 5 / self.done + self.noise + (self.wrong if self.lives > 1 else 0)
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": self.done, "loss": loss}) + "\n")
            if self.done % 10 == 0:
                self.save()
        return self.alive

    def save(self) -> None:
        """The state after the last step."""
        (self.folder / "checkpoints" / f"step-{self.done:08d}").mkdir(exist_ok=True)

    def warn(self) -> None:
        """Save and end."""
        self.save()
        self.alive = False

    def kill_rank(self, rank: int) -> None:
        """End."""
        self.alive = False

    def kill_node(self, node: str) -> None:
        """End."""
        self.alive = False

    def interrupt(self) -> None:
        """End."""
        self.alive = False

    def end(self) -> None:
        """Save and end."""
        self.warn()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has to do anything meanwhile."""
    monkeypatch.setattr(rehearsal, "POLL_SECONDS", 0)


def log_of(folder: Path) -> None:
    """The log of the last rank, which tells its node."""
    path = folder / "logs" / "n2" / "rank-3.log"
    path.parent.mkdir(parents=True)
    path.touch()


def test_every_fault_is_survived(tmp_path: Path) -> None:
    """On two nodes one more; the losses are those of the run without them."""
    hands = Pretence(tmp_path / "a")
    log_of(tmp_path / "a")
    whole = Rehearsal(tmp_path / "a", hands, lambda says: None)
    found = list(whole.faults(ranks=4, nodes=2))
    compared = whole.compare(tmp_path / "b", Pretence(tmp_path / "b"))

    assert [(each.name, each.passed) for each in found] == [
        ("the time limit", True),
        ("kill -9 of rank 3", True),
        ("kill -9 of all on one node", True),
        ("requeue", True),
    ]
    assert all(each.loaded == each.saved for each in found)
    assert found[0].lead_seconds is not None and found[1].lead_seconds is None
    assert compared.exact
    assert compared.steps >= max(steps_of(tmp_path / "a")) - 1


def test_an_older_checkpoint_is_not_good_enough(tmp_path: Path) -> None:
    """The drill ends there and says which was loaded."""
    hands = Pretence(tmp_path / "a", loads=0)
    (found,) = Rehearsal(tmp_path / "a", hands, lambda says: None).faults(ranks=1, nodes=1)

    assert not found.passed
    assert found.says == f"step 0 was loaded, not {found.saved}"


def test_a_warning_without_a_checkpoint_is_in_vain(tmp_path: Path) -> None:
    """Though an older one is there, from which the run goes on."""
    hands = Pretence(tmp_path / "a")
    hands.warn = lambda: hands.kill_rank(0)  # type: ignore[method-assign]
    (found,) = Rehearsal(tmp_path / "a", hands, lambda says: None).faults(ranks=1, nodes=1)

    assert not found.passed and found.lead_seconds is None
    assert found.says == "no checkpoint followed the warning: step 10 was saved before it"


def test_other_losses_are_told(tmp_path: Path) -> None:
    """Also those of repeated steps."""
    hands = Pretence(tmp_path / "a", wrong=0.25)
    whole = Rehearsal(tmp_path / "a", hands, lambda says: None)
    list(whole.faults(ranks=1, nodes=1))
    compared = whole.compare(tmp_path / "b", Pretence(tmp_path / "b"))

    assert not compared.exact and compared.noise == 0
    assert compared.difference == pytest.approx(0.25)
    assert compared.difference > compared.allowed


def test_what_runs_without_a_fault_differ_by_is_their_noise(tmp_path: Path) -> None:
    """It widens what a resume may be off by; what comes after the first fault does not count."""
    whole = Rehearsal(tmp_path / "a", Pretence(tmp_path / "a", wrong=0.25), lambda says: None)
    list(whole.faults(ranks=1, nodes=1))
    compared = whole.compare(tmp_path / "b", Pretence(tmp_path / "b", noise=0.0005))

    assert compared.noise == pytest.approx(0.0005)
    assert compared.difference == pytest.approx(0.2495)
    assert compared.allowed == pytest.approx(0.005)


def test_a_run_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    """Nothing was done to it yet."""
    hands = Pretence(tmp_path / "a")
    hands.goes_on = lambda: False  # type: ignore[method-assign]
    with pytest.raises(RunError, match="has ended before a checkpoint"):
        list(Rehearsal(tmp_path / "a", hands, lambda says: None).faults(ranks=1, nodes=1))
