"""Data, tokenizer, checkpoints and logs as arguments. The working directory is the run's folder."""

from llmtrain.config.data import Data
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.arguments import Arguments, Scalar
from llmtrain.launchers.backends.flag_table import FlagTable
from llmtrain.launchers.backends.length import run_steps

COUNTS_EOD = "--null-tokenizer-eod-id"
"""Versions with this flag count the end-of-document token within ``--vocab-size``."""


def corpus(recipe: Recipe) -> Arguments:
    """Where the tokens come from."""
    data = recipe.data
    return {
        "--mock-data": data.kind == "mock",
        **(_sets(data) if data.kind == "indexed" else {}),
        "--data-cache-path": data.cache,
        "--split": None
        if data.validation.paths
        else ",".join(f"{share:g}" for share in data.split),
    }


def _sets(data: Data) -> Arguments:
    """One blend that is split, or one for training and one for validation."""
    training, held = _blend(data.paths, data.weights), data.validation
    if not held.paths:
        return {"--data-path": training}
    return {
        "--train-data-path": training,
        "--valid-data-path": _blend(held.paths, held.weights),
    }


def _blend(paths: tuple[str, ...], weights: tuple[float, ...] | None) -> tuple[Scalar, ...]:
    """Weights and prefixes in turn, or prefixes alone where the recipe gives no weights."""
    if weights is None:
        return paths
    return tuple(item for pair in zip(weights, paths, strict=True) for item in pair)


def tokenizer(recipe: Recipe, table: FlagTable) -> Arguments:
    """The tokenizer; without one the null tokenizer, which only knows the vocabulary's size.

    It adds the end-of-document token to ``--vocab-size`` before core_v0.19.0 (``tokenizer.py``
    and ``null_tokenizer.py`` of each version).
    """
    path = recipe.data.tokenizer
    if path is None:
        extra = 0 if COUNTS_EOD in table else 1
        return {"--tokenizer-type": "NullTokenizer", "--vocab-size": recipe.model.vocab - extra}
    hugging_face = "HuggingFaceTokenizer"
    if hugging_face not in table.flags["--tokenizer-type"].choices:
        hugging_face = "HFTokenizer"
    kind = "GPTSentencePieceTokenizer" if path.endswith(".model") else hugging_face
    return {"--tokenizer-type": kind, "--tokenizer-model": path}


def evaluation(recipe: Recipe) -> Arguments:
    """Validation, where the recipe asks for it: a step's time should else be a step's.

    The interval is given in any case because ``training.py`` divides by it.
    """
    held = recipe.data.validation
    return {
        "--eval-iters": held.batches if held.interval else 0,
        "--eval-interval": held.interval or save_interval(recipe),
    }


def checkpoints(recipe: Recipe) -> Arguments:
    """Saved into the run's folder and resumed from there."""
    return {
        "--save": "checkpoints",
        "--load": "checkpoints",
        "--save-interval": save_interval(recipe),
    }


def save_interval(recipe: Recipe) -> int:
    """Steps between checkpoints; the whole run where no plan can tell."""
    return recipe.checkpoint.interval or run_steps(recipe)


def logs(recipe: Recipe, table: FlagTable) -> Arguments:
    """One line a step, and TensorBoard's points where the recipe wants them."""
    log = recipe.log
    return {
        "--log-interval": 1,
        "--tensorboard-dir": "logs/tensorboard" if log.tensorboard else None,
        "--tensorboard-log-interval": log.interval if log.interval > 1 else None,
        "--log-throughput": "--log-throughput" in table,
    }
