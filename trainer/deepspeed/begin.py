"""DeepSpeed, made ready, and the engine for a recipe."""

import json
import os
from pathlib import Path
from typing import Any

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import Device
from llmtrain.trainer.engine import Engine
from llmtrain.trainer.groups import Position

FILE = "ds_config.json"
"""DeepSpeed's JSON in the run's folder: the launch has written it, from the plan."""


def begin(recipe: Recipe, position: Position, device: Device, folder: Path) -> Engine:
    """The engine of this rank: by stages where there are several."""
    prepare(device)
    config: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if position.pp_size > 1:
        from llmtrain.trainer.deepspeed.pipeline import StageEngine

        return StageEngine(recipe, position, device, config)
    from llmtrain.trainer.deepspeed.replicas import ReplicaEngine

    return ReplicaEngine(recipe, position, device, config)


def prepare(device: Device) -> None:
    """Import DeepSpeed, and let it use the groups of torch that there are.

    On a CPU it would compile a library for shared memory when first used, which takes minutes and
    which gloo does not need; and it would refuse fp16 where the processor has no instructions for
    it (``runtime/engine.py``, ``_do_sanity_check``), which torch computes all the same.
    """
    # It asks the environment even of a process that torchrun has not started.
    os.environ.setdefault("LOCAL_RANK", "0")
    if not device.cuda:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import deepspeed.ops

    if not device.cuda:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.get_accelerator().is_fp16_supported = lambda: True
    deepspeed.init_distributed(device.backend, auto_mpi_discovery=False, verbose=False)
