"""Metrics reach Weights & Biases and MLflow through their libraries, which cannot end a run.

What stands for the libraries here takes and keeps the calls that wandb 0.31 and mlflow 3.17 took
in a real run, offline and to a folder, over a stop and a resume.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llmtrain.trainer.boards import Boards

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.conftest import Lab

SCALARS = {"loss": 2.5, "grad_norm": 1.0}


class Wandb(ModuleType):
    """Keeps what it is told."""

    def __init__(self, *, offers: bool = True) -> None:
        super().__init__("wandb")
        self.offers, self.begun, self.told = offers, {}, []  # type: ignore[var-annotated]

    def init(self, **given: Any) -> Any:
        """Begin a run."""
        self.begun = given
        return self

    def log(self, scalars: dict[str, float], *, step: int) -> None:
        """Take points, or not."""
        if not self.offers:
            raise ConnectionError("no route to host")
        self.told.append((step, scalars))

    def finish(self) -> None:
        """End the run."""
        self.told.append("finished")


class Mlflow(ModuleType):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.entities = SimpleNamespace(Metric=lambda *given: given)
        self.told: list[Any] = []

    def MlflowClient(self) -> Any:
        """The same object."""
        return self

    def flush_async_logging(self) -> None:
        """Send the rest."""
        self.told.append("flushed")

    def get_experiment_by_name(self, name: str) -> None:
        """It is not there yet."""

    def create_experiment(self, name: str) -> str:
        """Its number."""
        return f"number of {name}"

    def search_runs(self, experiments: list[str], asked: str) -> list[Any]:
        """There is none yet."""
        return []

    def create_run(self, experiment: str, *, tags: dict[str, str], run_name: str) -> Any:
        """A new one."""
        self.told.append((experiment, run_name, list(tags)))
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def log_dict(self, run: str, values: dict[str, Any], name: str) -> None:
        """The recipe."""
        self.told.append((run, name, values["name"]))

    def log_batch(self, run: str, *, metrics: list[Any], synchronous: bool) -> None:
        """Points, without their time."""
        self.told.append((run, [(key, value, step) for key, value, _, step in metrics]))

    def set_terminated(self, run: str) -> None:
        """The end."""
        self.told.append((run, "ended"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(lab: Lab, tmp_path: Path) -> None:
    """TensorBoard's own reader finds a curve for each value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    boards = Boards(tmp_path, lab.trial().recipe, print)
    boards.write(1, SCALARS)
    boards.write(2, {"loss": 1.5})
    boards.close()
    found = EventAccumulator(str(tmp_path / "logs" / "tensorboard")).Reload()

    assert found.Tags()["scalars"] == ["loss", "grad_norm"]
    assert [(point.step, point.value) for point in found.Scalars("loss")] == [(1, 2.5), (2, 1.5)]


def test_wandb(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ``log.interval`` steps a point; the run's name and folder, the same after a resume."""
    wandb, said = Wandb(), []  # type: ignore[var-annotated]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    recipe = lab.trial(log={"tensorboard": False, "wandb": "project", "interval": 2}).recipe
    boards = Boards(tmp_path, recipe, said.append)
    for step in (1, 2, 3, 4):
        boards.write(step, SCALARS)
    boards.close()
    first = wandb.begun
    Boards(tmp_path, recipe, said.append)

    assert wandb.told == [(2, SCALARS), (4, SCALARS), "finished"]
    assert (first["project"], first["name"], first["resume"]) == ("project", tmp_path.name, "allow")
    assert first["config"]["model"]["layers"] == 4
    assert wandb.begun["id"] == first["id"]
    assert said == []


def test_mlflow(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The experiment and the run are made where they are not there, and the recipe is kept."""
    mlflow = Mlflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", mlflow.entities)
    recipe = lab.trial(log={"tensorboard": False, "mlflow": "trials"}).recipe
    boards = Boards(tmp_path, recipe, print)
    boards.write(1, SCALARS)
    boards.close()

    assert mlflow.told == [
        ("number of trials", tmp_path.name, ["llmtrain_run"]),
        ("r1", "recipe.json", "tiny"),
        ("r1", [("loss", 2.5, 1), ("grad_norm", 1.0, 1)]),
        "flushed",
        ("r1", "ended"),
    ]


def test_a_board_that_fails_is_left_out(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that is not there, or a server that is not, is said once; the run goes on."""
    said: list[str] = []
    monkeypatch.setitem(sys.modules, "wandb", Wandb(offers=False))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    recipe = lab.trial(log={"tensorboard": False, "wandb": "p", "mlflow": "e"}).recipe
    boards = Boards(tmp_path, recipe, said.append)
    boards.write(1, SCALARS)
    boards.write(2, SCALARS)
    boards.close()

    missing, refused = said
    assert missing.startswith("`log.mlflow` is left out, the run goes on without: import of mlflow")
    assert refused == "`log.wandb` is left out, the run goes on without: no route to host"
