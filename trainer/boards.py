"""TensorBoard, Weights & Biases and MLflow, each through its own library."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from llmtrain.config.recipe import Recipe


class Board(Protocol):
    """What draws curves."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve."""
        ...

    def close(self) -> None:
        """Hand over what is still held back."""
        ...


class TensorBoard:
    """Event files in the run's folder."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """Append to those of the run."""
        # Each library takes a while to import, and only the leading rank needs it.
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(folder / "logs" / "tensorboard")

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        # One event for all: a sixth of the time of one for each.
        values = [Summary.Value(tag=key, simple_value=value) for key, value in scalars.items()]
        self._writer.file_writer.add_summary(Summary(value=values), step)

    def close(self) -> None:
        """Write the rest."""
        self._writer.close()


class Wandb:
    """A run in Weights & Biases; after a resume the same one goes on."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """Account, server and mode are those of the environment."""
        import wandb

        self._run = wandb.init(
            project=recipe.log.wandb,
            name=folder.name,
            id=identity(folder),
            resume="allow",
            dir=str(folder / "logs"),
            config=asdict(recipe),
        )

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve."""
        self._run.log(scalars, step=step)

    def close(self) -> None:
        """Send the rest."""
        self._run.finish()


class Mlflow:
    """A run in MLflow; after a resume the same one goes on."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """The server is the environment's."""
        import mlflow

        self._client = mlflow.MlflowClient()
        name = str(recipe.log.mlflow)
        found = self._client.get_experiment_by_name(name)
        number = found.experiment_id if found else self._client.create_experiment(name)
        self._run = self._known(number, identity(folder)) or self._new(number, folder, recipe)

    def _known(self, experiment: str, name: str) -> str | None:
        found = self._client.search_runs([experiment], f"tags.llmtrain_run = '{name}'")
        return str(found[0].info.run_id) if found else None

    def _new(self, experiment: str, folder: Path, recipe: Recipe) -> str:
        tags = {"llmtrain_run": identity(folder)}
        run = self._client.create_run(experiment, tags=tags, run_name=folder.name)
        number = str(run.info.run_id)
        self._client.log_dict(number, asdict(recipe), "recipe.json")
        return number

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve; a thread of MLflow's sends them."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(key, value, now, step) for key, value in scalars.items()]
        self._client.log_batch(self._run, metrics=points, synchronous=False)

    def close(self) -> None:
        """Send the rest."""
        from mlflow import flush_async_logging

        flush_async_logging()
        self._client.set_terminated(self._run)


def identity(folder: Path) -> str:
    """A name for the run's folder that a server accepts, the same after every resume."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return f"{folder.name[:40]}-{place}"


KINDS: dict[str, Callable[[Path, Recipe], Board]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
}
"""Recipe key below ``log`` -> what it asks for."""


class Boards:
    """All that the recipe asks for. One that fails is left out, and the run goes on."""

    def __init__(self, folder: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
        """Open them; troubles are said once."""
        self._interval, self._say = recipe.log.interval, say
        self._open: dict[str, Board] = {}
        for name in KINDS:
            if getattr(recipe.log, name):
                self._try(name, partial(self._begin, name, folder, recipe))

    def _begin(self, name: str, folder: Path, recipe: Recipe) -> None:
        self._open[name] = KINDS[name](folder, recipe)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve, if it is time."""
        if step % self._interval:
            return
        for name, board in list(self._open.items()):
            self._try(name, partial(board.write, step, scalars))

    def close(self) -> None:
        """Hand over what is still held back."""
        for name, board in list(self._open.items()):
            self._try(name, board.close)

    def _try(self, name: str, act: Callable[[], None]) -> None:
        # Whatever a server or its library does, it must not end the training.
        try:
            act()
        except Exception as error:
            self._say(f"`log.{name}` is left out, the run goes on without: {error}")
            self._open.pop(name, None)
