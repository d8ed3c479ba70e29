"""``python -m llmtrain.trainer.cache RUN_DIR``: prepares the data of a run and builds its index.

One process on a machine without a GPU, before the ranks start: they then find all of it in
``data.cache``.
"""

import argparse
import sys
from pathlib import Path

from llmtrain.config.errors import LlmtrainError
from llmtrain.config.files import read_recipe
from llmtrain.config.layout import step_samples, total_steps


def main() -> int:
    """Build it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m llmtrain.trainer.cache", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN_DIR", help="holds recipe.yaml")
    folder: Path = parser.parse_args().folder
    try:
        build(folder)
    except LlmtrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    return 0


def build(folder: Path) -> None:
    """The samples of the run in ``folder``, as every rank makes them."""
    recipe = read_recipe(folder / "recipe.yaml")

    # megatron-core must find the machine ready.
    from llmtrain.trainer import without_cuda

    without_cuda.install()

    from llmtrain.trainer import tokens

    tokens.sets(recipe, step_samples(recipe, total_steps(recipe) or 0).start)


if __name__ == "__main__":
    sys.exit(main())
