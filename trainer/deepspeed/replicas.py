"""DeepSpeed's engine without stages: every rank has whole layers, or its tensor parallel part."""

from typing import Any

import torch

from llmtrain.config.recipe import Recipe
from llmtrain.trainer import model, weights
from llmtrain.trainer.batches import MicroBatch
from llmtrain.trainer.deepspeed import shards
from llmtrain.trainer.deepspeed.engine import DeepSpeed, mean
from llmtrain.trainer.deepspeed.groups import Groups
from llmtrain.trainer.device import Device
from llmtrain.trainer.engine import Work
from llmtrain.trainer.groups import Position


class ReplicaEngine(DeepSpeed):
    """ZeRO 0 to 3 over the replicas of megatron-core's GPTModel."""

    def __init__(
        self, recipe: Recipe, position: Position, device: Device, config: dict[str, Any]
    ) -> None:
        """Build the model."""
        if recipe.optim.zero == 3:
            part, names = shards.build(recipe, position, device, config)
        else:
            (part,) = model.build(recipe, position, device)
            names = weights.global_names(part, recipe, position)
            weights.fill(part, names, recipe, position)
        super().__init__(recipe, position, part, names, config=config, mpu=Groups())

    def gradients(self, work: Work) -> list[torch.Tensor]:
        """One micro-batch after the other."""
        losses = []
        for number, batch in enumerate(work.read() or ()):
            # Told, not counted: a batch ramp would have DeepSpeed's own count begin in the middle.
            self.engine.set_gradient_accumulation_boundary(number == work.count - 1)
            loss = self._losses(batch).float().mean()
            self.engine.backward(loss)
            losses.append(loss)
            if number < work.count - 1:
                self.engine.step()
        return mean(losses)

    def take_step(self) -> None:
        """At the boundary, which the last micro-batch was."""
        self._norms.measure()
        self.engine.step()

    def evaluate(self, work: Work) -> list[torch.Tensor]:
        """Forward alone."""
        self.engine.eval()
        with torch.no_grad():
            losses = mean(self._losses(batch) for batch in work.read() or ())
        self.engine.train()
        return losses

    def _losses(self, batch: MicroBatch) -> torch.Tensor:
        """Of every token, (micro, seq)."""
        losses: torch.Tensor = self.engine(
            input_ids=batch.tokens,
            position_ids=batch.positions,
            attention_mask=None,
            labels=batch.labels,
        )
        return losses
