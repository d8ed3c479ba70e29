"""DeepSpeed's engine for stages."""

from collections.abc import Iterator
from typing import Any

import torch
from deepspeed.runtime.pipe.engine import PipelineEngine
from deepspeed.runtime.pipe.schedule import OptimizerStep

from llmtrain.config.recipe import Recipe
from llmtrain.trainer import weights
from llmtrain.trainer.deepspeed.engine import DeepSpeed, mean
from llmtrain.trainer.deepspeed.stages import Stages, global_names
from llmtrain.trainer.device import Device
from llmtrain.trainer.engine import Work
from llmtrain.trainer.groups import Position


class StageEngine(DeepSpeed):
    """DeepSpeed's 1F1B over the stages, ZeRO 0 or 1 over the replicas."""

    def __init__(
        self, recipe: Recipe, position: Position, device: Device, config: dict[str, Any]
    ) -> None:
        """Build this rank's stage."""
        stages = Stages(recipe, position, device)
        names = global_names(stages, recipe, position)
        weights.fill(stages, names, recipe, position)
        super().__init__(recipe, position, stages, names, config=config)
        # Its schedule ends with the update: whether there is to be one is known only then.
        self.engine._INSTRUCTION_MAP = {**PipelineEngine._INSTRUCTION_MAP, OptimizerStep: _later}

    def gradients(self, work: Work) -> list[torch.Tensor]:
        """By DeepSpeed's schedule."""
        self.engine.micro_batches = work.count
        self.engine.train_batch(data_iter=pairs(work))
        return mean(self.engine.fwd_outputs)

    def take_step(self) -> None:
        """What the schedule left out."""
        self._norms.measure()
        self.engine._exec_optimizer_step()

    def evaluate(self, work: Work) -> list[torch.Tensor]:
        """By DeepSpeed's schedule for forward passes alone."""
        self.engine.eval_batch(pairs(work), bcast_loss=False, num_micro_batches=work.count)
        self.engine.module.train()
        return mean(self.engine.fwd_outputs)


def pairs(work: Work) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Tokens and labels, as the first and the last stage ask for them."""
    return ((batch.tokens, batch.labels) for batch in work.read() or ())


def _later(engine: Any) -> None:
    """In the place of the update."""
