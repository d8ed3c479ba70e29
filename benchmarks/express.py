"""A published row as a recipe, with the software stack that ran it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, cast

from benchmarks.cells import read_cells
from benchmarks.fills import Filled, filled
from benchmarks.fitting_in import as_it_fits
from benchmarks.frameworks import framework_note, rule_for
from benchmarks.machines import cluster_of
from benchmarks.points import Point
from benchmarks.shapes import NotExpressible, shape_notes, shape_of
from llmtrain.config.batch import Batch
from llmtrain.config.errors import LlmtrainError
from llmtrain.config.model import Model
from llmtrain.config.numerics import Fp8, Kernels, Kind, Precision, Recompute
from llmtrain.config.parallel import Parallel
from llmtrain.config.place import Backend, Cluster
from llmtrain.config.recipe import Recipe
from llmtrain.config.training import Optim
from llmtrain.planner.stacks import stack_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Expressed:
    """A row that a recipe can say."""

    point: Point
    """The row as it was read."""
    recipe: Recipe
    """What was trained, and where."""
    stack: str
    """Software stack (``planner/data/stacks``)."""
    program: str
    """Memory habits (``planner/data/memory.yaml``)."""
    fills: tuple[str, ...]
    """Blank cells and how they were filled."""


def express(point: Point, family: Sequence[Point]) -> Expressed:
    """The recipe of a row; ``family`` are the rows of the same source.

    Raises:
        NotExpressible: with the reason.
    """
    _refuse(point)
    read, defaults = read_cells(point)
    try:
        cluster, network = cluster_of(read)
        rule = rule_for(read, cluster.gpu.arch)
        fill = rule.get("fill", {})
        model = replace(shape_of(read), **fill.get("model", {}))
        layout = filled(read, model, family)
        recipe = _recipe(read, layout, cluster, model, rule["stack"], fill)
        program = fill.get("program", "megatron")
        recipe, fitted = as_it_fits(read, recipe, program, layout)
    except LlmtrainError as error:
        raise NotExpressible(f"no valid recipe: {error}") from error
    said = (*defaults, *framework_note(read, rule), *network, *shape_notes(read, model))
    said = (*said, *_last(layout.notes, fitted), *_open(read, fitted, fill.get("recompute", ())))
    return Expressed(point=read, recipe=recipe, stack=rule["stack"], program=program, fills=said)


def _last(first: Sequence[str], later: Sequence[str]) -> Iterator[str]:
    """What was filled anew counts alone."""
    again = {note.partition(":")[0] for note in later}
    yield from (note for note in first if note.partition(":")[0] not in again)
    yield from later


def _open(point: Point, fitted: Sequence[str], modules: Sequence[str]) -> Iterator[str]:
    """A silent row that fits computes again what its scripts name, and its TFLOP/s count the model
    alone."""
    if not point.text("recompute") and not any(note.startswith("recompute") for note in fitted):
        yield f"recompute: selective, {' '.join(modules)}" if modules else "recompute: none"
    timed = point.text("step_time_s") or point.text("tokens_per_s_per_gpu")
    if point.text("tflops_per_gpu") and not (timed or point.text("tflops_kind")):
        yield "tflops_kind: model"


def _refuse(point: Point) -> None:
    if "LoRA" in point.text("notes") or "lora" in point.family:
        raise NotExpressible("LoRA: a recipe trains all weights")
    if "ONE LAYER" in point.text("notes"):
        raise NotExpressible("one layer, not a step")


def _recipe(
    point: Point, layout: Filled, cluster: Cluster, model: Model, stack: str, fill: dict[str, Any]
) -> Recipe:
    overlap = bool(fill.get("overlap"))
    unfused = stack_of(stack).attention["auto"] == "unfused"
    return Recipe(
        name=point.id,
        gpus=layout.gpus,
        model=model,
        cluster=cluster,
        backend=Backend(name="megatron-lm"),
        parallel=_parallel(point, layout, fill.get("ends")),
        batch=Batch(micro=layout.micro, global_=layout.global_batch),
        precision=_precision(point, fp8_params=bool(fill.get("fp8_params"))),
        optim=Optim(
            zero=layout.zero,
            grad_dtype=_gradients(point, fill),
            master=bool(fill.get("master", True)),
            overlap_grad_reduce=overlap,
            overlap_param_gather=overlap and layout.zero > 0,
        ),
        recompute=_recompute(point, fill.get("recompute", ())),
        kernels=Kernels(
            attention=fill.get("attention", "unfused" if unfused else "auto"),
            tp_overlap=bool(fill.get("tp_overlap")) and layout.sequence,
        ),
    )


ENDS = 2
"""Embedding and loss can be chunks of their own."""


def _parallel(point: Point, layout: Filled, ends: Sequence[int] | None) -> Parallel:
    layers = point.whole("layers") or 1
    chunks = layout.pp * layout.vpp
    if chunks > layers + ENDS:
        raise NotExpressible(f"{chunks} chunks of a pipeline for {layers} layers")
    uneven = None if layers % chunks == 0 else _spread(layers, chunks)
    if ends is not None and chunks > 1:
        uneven = _with_ends(layers, chunks, *ends)
    return Parallel(
        tp=layout.tp, pp=layout.pp, vpp=layout.vpp, cp=layout.cp, ep=layout.ep,
        etp=_expert_tp(point, layout), sequence=layout.sequence, layers_per_stage=uneven,
    )  # fmt: skip


def _spread(layers: int, chunks: int) -> tuple[int, ...]:
    """As even as it goes, the ends the lighter ones."""
    small, more = divmod(layers, chunks)
    counts = [small] * chunks
    for place in range(more):
        counts[(place + 1) % chunks] += 1
    return tuple(counts)


def _with_ends(layers: int, chunks: int, before: int, behind: int) -> tuple[int, ...]:
    """Modules before and behind the layers count like layers; the first chunks take the rest."""
    each, more = divmod(layers + before + behind, chunks)
    counts = [each + (place < more) for place in range(chunks)]
    counts[0] -= before
    counts[-1] -= behind
    return tuple(counts) if min(counts) >= 0 else _spread(layers, chunks)


def _expert_tp(point: Point, layout: Filled) -> int | None:
    stated = re.search(r"ETP\s*=?\s*(\d+)", point.text("notes"))
    if stated:
        return int(stated[1])
    if layout.ep == 1:
        return None
    fits = layout.gpus % (layout.tp * layout.ep * layout.pp) == 0
    return layout.tp if fits and "mla" not in point.text("arch") else 1


def _gradients(point: Point, fill: dict[str, Any]) -> Literal["fp32", "weights"]:
    return "fp32" if "grads fp32" in point.text("notes") else fill.get("grads", "fp32")


FP8: Mapping[str, Literal["delayed", "tensorwise", "blockwise", "mxfp8"]] = MappingProxyType(
    {
        "fp8": "delayed", "fp8-tensorwise": "tensorwise", "fp8-blockwise": "blockwise",
        "mxfp8": "mxfp8",
    }
)  # fmt: skip
"""Spellings (``data/cells.yaml``) -> how the scaling factors are found."""


def _precision(point: Point, *, fp8_params: bool) -> Precision:
    numbers = point.text("precision")
    if numbers in FP8:
        return Precision(kind="fp8", fp8=Fp8(recipe=FP8[numbers], param_gather=fp8_params))
    return Precision(kind=cast(Kind, numbers))


def _recompute(point: Point, modules: Sequence[str]) -> Recompute:
    """As stated, else the ``modules`` that the program's scripts name."""
    kind = point.text("recompute")
    if modules and not kind:
        return Recompute(kind="selective", modules=tuple(modules))
    block = re.fullmatch(r"block\((\d+)\)", kind)
    if block:
        return Recompute(kind="full", method="block", layers=int(block[1]))
    return Recompute(kind=cast(Literal["none", "selective", "full"], kind or "none"))
