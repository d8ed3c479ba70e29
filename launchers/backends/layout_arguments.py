"""The layout as arguments of Megatron-LM."""

from itertools import groupby

from llmtrain.config.layout import chunk_layers
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.arguments import Arguments
from llmtrain.launchers.backends.flag_table import FlagTable


def degrees(recipe: Recipe) -> Arguments:
    """Tensor, pipeline, context, expert parallel, and how they number the ranks."""
    parallel = recipe.parallel
    moe = recipe.model.experts is not None
    return {
        "--tensor-model-parallel-size": parallel.tp,
        "--sequence-parallel": parallel.sequence,
        "--context-parallel-size": parallel.cp,
        "--expert-model-parallel-size": parallel.ep if moe else None,
        "--expert-tensor-parallel-size": parallel.expert_tp if moe else None,
        "--pipeline-model-parallel-size": parallel.pp,
        "--use-tp-pp-dp-mapping": parallel.order == "tp-cp-ep-pp-dp",
    }


def stages(recipe: Recipe, table: FlagTable) -> Arguments:
    """Which layers lie on which stage.

    An uneven split is a layout string; v0.12.0rc3 knows only a different first and last stage.
    """
    parallel = recipe.parallel
    chunks = _given_chunks(recipe)
    vpp = parallel.vpp if parallel.vpp > 1 else None
    if len(set(chunks)) < 2:
        return {
            "--num-virtual-stages-per-pipeline-rank": vpp,
            "--account-for-embedding-in-pipeline-split": parallel.account_for_embedding,
            "--account-for-loss-in-pipeline-split": parallel.account_for_loss,
        }
    name = "--pipeline-model-parallel-layout"
    if name not in table and vpp is None and len(set(chunks[1:-1])) < 2:
        return {
            "--decoder-first-pipeline-num-layers": chunks[0],
            "--decoder-last-pipeline-num-layers": chunks[-1],
        }
    return {name: layout_string(chunks, recipe.model.mtp)}


def _given_chunks(recipe: Recipe) -> tuple[int, ...]:
    """Layers of each chunk where the recipe names them; empty where Megatron divides."""
    if recipe.parallel.layers_per_stage is None:
        return ()
    return chunk_layers(recipe) or ()


def layout_string(chunks: tuple[int, ...], mtp: int = 0) -> str:
    """A split as ``--pipeline-model-parallel-layout`` reads it: ``Et*5|(t*6|)*10t*5L``.

    E is the embedding, t a layer, m a layer of multi-token prediction, L the loss.
    Source: megatron-core ``pipeline_parallel_layer_layout.py`` (``parse_str_to_list``).
    """
    middle = "".join(_run(count, len(tuple(same))) for count, same in groupby(chunks[1:-1]))
    last = f"{_layers(chunks[-1])}{'m' * mtp}L"
    return f"E{_layers(chunks[0])}|{middle}{last}"


def _run(count: int, times: int) -> str:
    """``times`` chunks of ``count`` layers, each with the bar behind it."""
    return f"{_layers(count)}|" if times == 1 else f"({_layers(count)}|)*{times}"


def _layers(count: int) -> str:
    return f"t*{count}" if count > 1 else "t" * count
