"""A run, assembled. To be imported once the device is ready for megatron-core."""

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from megatron.core import tensor_parallel

from llmtrain.config.layout import step_samples, total_steps
from llmtrain.config.recipe import Recipe
from llmtrain.trainer import groups, tokens
from llmtrain.trainer.agreement import from_leader
from llmtrain.trainer.batches import batches
from llmtrain.trainer.checkpoint import Checkpoints
from llmtrain.trainer.control import Requests
from llmtrain.trainer.device import Device
from llmtrain.trainer.engine import Engine
from llmtrain.trainer.groups import Position
from llmtrain.trainer.guard import Watch
from llmtrain.trainer.journal import Journal
from llmtrain.trainer.life import Life
from llmtrain.trainer.loop import Loop
from llmtrain.trainer.memory import memory
from llmtrain.trainer.places import Place, all_places
from llmtrain.trainer.profiling import Window
from llmtrain.trainer.rank import Rank
from llmtrain.trainer.step import Stepper
from llmtrain.trainer.validation import Validation
from llmtrain.trainer.waits import clock
from llmtrain.trainer.watchdog import Watchdog


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One rank of a run."""

    folder: Path
    """The run's folder."""
    recipe: Recipe
    """What is trained."""
    rank: Rank
    """Which process this is."""
    device: Device
    """What it computes on."""
    requests: Requests
    """What is asked of it meanwhile."""
    terminal: TextIO
    """Where progress is shown."""
    watchdog: Watchdog
    """Ends this rank when the run gets no further."""

    def train(self) -> None:
        """Start or go on, until the last step or a request to stop."""
        position = groups.join(self.recipe, self.rank, self.device)
        places = all_places(position.pp, self.rank.node)
        self.watchdog.know(places)
        try:
            loop = self.loop(*self.assemble(position), places)
            loop.run(loop.load())
        finally:
            groups.leave()

    def assemble(self, position: Position) -> tuple[Stepper, Checkpoints]:
        """Model, optimizer and data of the rank at ``position``."""
        recipe, steps = self.recipe, total_steps(self.recipe) or 0
        tensor_parallel.model_parallel_cuda_manual_seed(recipe.run.seed)
        engine = self.engine(position)
        sets = tokens.sets(recipe, step_samples(recipe, steps).start)
        stepper = Stepper(
            recipe=recipe,
            position=position,
            steps=steps,
            engine=engine,
            batches=batches(recipe, position, self.device, sets),
        )
        checkpoints = Checkpoints(
            folder=self.folder / "checkpoints",
            keep=recipe.checkpoint.keep,
            background=recipe.checkpoint.async_,
            engine=engine,
            life=from_leader(lambda: Life.read(self.folder)),
        )
        return stepper, checkpoints

    def engine(self, position: Position) -> Engine:
        """The engine that the recipe's backend names; each is imported when it is used."""
        if self.recipe.backend.name == "megatron-core":
            from llmtrain.trainer.megatron_engine import MegatronEngine

            return MegatronEngine(self.recipe, position, self.device)
        from llmtrain.trainer.deepspeed.begin import begin

        return begin(self.recipe, position, self.device, self.folder)

    def loop(self, stepper: Stepper, checkpoints: Checkpoints, places: tuple[Place, ...]) -> Loop:
        """The loop over the steps, before the first."""
        return Loop(
            stepper=stepper,
            checkpoints=checkpoints,
            requests=self.requests,
            device=self.device,
            interval=self.recipe.checkpoint.interval,
            watch=Watch(self.recipe.guard),
            clock=clock(self.device),
            memory=memory(self.device),
            window=Window(self.recipe.profile, self.folder, self.rank),
            journal=self._journal(stepper, places),
            watchdog=self.watchdog,
            validation=Validation(stepper=stepper),
        )

    def _journal(self, stepper: Stepper, places: tuple[Place, ...]) -> Journal | None:
        if not self.rank.leads:
            return None
        return Journal(self.folder, self.recipe, places, self.terminal, stepper.steps)
