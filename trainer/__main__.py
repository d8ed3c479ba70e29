"""``python -m llmtrain.trainer RUN_DIR``: one rank of a run, started by torchrun or alone.

Exit status 0: the run has finished, or has stopped on request after a checkpoint; the last line of
events.jsonl says which. Exit status 6: it failed; the rank's log has the traceback.
"""

import argparse
import sys
import traceback
from pathlib import Path
from typing import TextIO

from llmtrain.config.errors import LlmtrainError, RunError
from llmtrain.config.files import read_recipe
from llmtrain.trainer.control import Requests
from llmtrain.trainer.life import Life
from llmtrain.trainer.rank import Rank
from llmtrain.trainer.records import event
from llmtrain.trainer.streams import keep_terminal, log_path
from llmtrain.trainer.unsupported import refuse


def main() -> int:
    """Run one rank; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m llmtrain.trainer", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN_DIR", help="holds recipe.yaml")
    folder: Path = parser.parse_args().folder
    rank = Rank.read()
    terminal = keep_terminal(log_path(folder, rank))
    life = Life.read(folder).number
    if life is not None:
        # Parts the log, which grows life after life.
        print(f"llmtrain: life {life} begins", flush=True)
    try:
        train(folder, rank, terminal)
    except Exception as error:
        return failed(folder, rank, terminal, error)
    return 0


def train(folder: Path, rank: Rank, terminal: TextIO) -> None:
    """Read the recipe and train."""
    requests = Requests(folder=folder, leads=rank.leads)
    requests.listen()
    recipe = read_recipe(folder / "recipe.yaml")
    refuse(recipe, rank.world)

    # torch takes seconds to import, and megatron-core must find the device ready.
    from llmtrain.trainer.device import choose

    device = choose(recipe, rank)

    from llmtrain.trainer.run import Run
    from llmtrain.trainer.watchdog import Watchdog

    watchdog = Watchdog(folder, rank, recipe.hang)
    run = Run(
        folder=folder,
        recipe=recipe,
        rank=rank,
        device=device,
        requests=requests,
        terminal=terminal,
        watchdog=watchdog,
    )
    try:
        run.train()
    finally:
        watchdog.close()


def failed(folder: Path, rank: Rank, terminal: TextIO, error: Exception) -> int:
    """Say what happened: the log has it all, the event and the terminal one line."""
    traceback.print_exc()
    says = str(error) or type(error).__name__
    event(folder, "failed", None, rank=rank.number, node=rank.node, error=says)
    print(f"rank {rank.number}: {says.splitlines()[0]}", file=terminal)
    print(f"hint: see {log_path(folder, rank)}", file=terminal)
    return error.status if isinstance(error, LlmtrainError) else RunError.status


if __name__ == "__main__":
    sys.exit(main())
