"""Real checkpoints of DeepSpeed, written by one or two processes of a CPU under torchrun.

``python -m torch.distributed.run … deepspeed_writer.py FOLDER KIND…``: KIND is a stage of ZeRO, or
``pipe``. Nothing is compiled: the optimizer is torch's, and the shared memory operator is left out.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
import deepspeed.ops
import torch
import torch.distributed as dist
from deepspeed.pipe import PipelineModule
from torch import nn


def layers() -> list[nn.Module]:
    """A small model."""
    torch.manual_seed(1)
    return [nn.Linear(8, 8, bias=False) for _ in range(4)]


def engine_for(kind: str) -> Any:
    """DeepSpeed's engine over that model."""
    pipe = kind == "pipe"
    model = PipelineModule(layers(), num_stages=2) if pipe else nn.Sequential(*layers())
    replicas = 1 if pipe else dist.get_world_size()
    config = {
        "train_batch_size": replicas,
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 0 if pipe else int(kind)},
        "zero_allow_untested_optimizer": True,
    }
    optimizer = torch.optim.AdamW(model.parameters())
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]


def step(engine: Any) -> None:
    """One step of training."""
    engine.backward(engine(torch.ones(1, 8)).sum())
    engine.step()


def main() -> None:
    """Write them all."""
    folder, *kinds = sys.argv[1:]
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo")
    version = {"universal_checkpoint_info": {"universal_checkpoint_version": 0.2}}
    for kind in kinds:
        engine = engine_for(kind)
        if kind != "pipe":
            step(engine)
        engine.save_checkpoint(str(Path(folder) / kind), client_state=version)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
