"""Bytes of the tensors of every rank between two steps, left in ``bytes.json``: a program."""

import json
import sys
from pathlib import Path

from llmtrain.config.files import read_recipe
from llmtrain.trainer.control import Requests
from llmtrain.trainer.device import choose
from llmtrain.trainer.rank import Rank

STEPS = 2
"""The first makes the moments."""


def measure(folder: Path) -> list[int]:
    """Train two steps; the bytes of each rank."""
    recipe, rank = read_recipe(folder / "recipe.yaml"), Rank.read()
    device = choose(recipe, rank)

    import torch.distributed as dist

    from llmtrain.trainer import groups
    from llmtrain.trainer.memory import living_bytes
    from llmtrain.trainer.run import Run
    from llmtrain.trainer.watchdog import Watchdog

    run = Run(
        folder=folder,
        recipe=recipe,
        rank=rank,
        device=device,
        requests=Requests(folder=folder, leads=rank.leads),
        terminal=sys.stderr,
        watchdog=Watchdog(folder, rank, recipe.hang),
    )
    stepper, _ = run.assemble(groups.join(recipe, rank, device))
    for done in range(STEPS):
        stepper.step(done, lambda loss: True)
    every = [0] * rank.world
    dist.all_gather_object(every, living_bytes())
    groups.leave()
    return every


def main() -> int:
    """Measure in the folder that is named; the exit status."""
    folder = Path(sys.argv[1])
    found = measure(folder)
    if Rank.read().leads:
        (folder / "bytes.json").write_text(json.dumps(found))
    return 0
