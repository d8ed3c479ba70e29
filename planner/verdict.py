"""Whether a plan fits its GPUs, and which changes would make it fit."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

from llmtrain.config.attention import is_unfused, needs_unfused
from llmtrain.config.change import Changes, as_overrides, changed_if_valid
from llmtrain.config.errors import Problem, Repair
from llmtrain.config.recipe import Recipe
from llmtrain.planner.calibration import memory_error
from llmtrain.planner.memory import Peak, peak_memory

Verdict = Literal["fits", "tight", "no"]
Accepts = Callable[[Recipe], bool]

GIB = 2**30
OFFERED = 3
"""Repairs that are shown."""


def worst(peaks: tuple[Peak, ...]) -> Peak:
    """The stage whose rank holds most."""
    return max(peaks, key=lambda peak: peak.memory.total)


def verdict(recipe: Recipe, peaks: tuple[Peak, ...]) -> Verdict | None:
    """Whether the worst rank fits; ``tight``: by less than the model's own error.

    None where the GPU's memory is not known.
    """
    capacity = recipe.cluster.gpu.memory_bytes
    if capacity is None:
        return None
    needed = max(peak.needed for peak in peaks)
    if needed > capacity:
        return "no"
    return "tight" if needed * (1 + memory_error(recipe)) > capacity else "fits"


def fits(recipe: Recipe) -> bool:
    """Whether ``recipe``, which breaks no rule, fits its GPUs as far as is known."""
    return verdict(recipe, peak_memory(recipe)) != "no"


def out_of_memory(
    recipe: Recipe, peaks: tuple[Peak, ...], accepts: Accepts | None = None
) -> tuple[Problem, ...]:
    """The problem with its repairs where the plan does not fit; else nothing.

    Args:
        recipe: what was planned.
        peaks: its memory.
        accepts: whether a changed recipe is valid; without it no repairs are looked for.
    """
    capacity = recipe.cluster.gpu.memory_bytes
    if capacity is None or verdict(recipe, peaks) != "no":
        return ()
    most = max(peaks, key=lambda peak: peak.needed)
    says = (
        f"stage {peaks.index(most)} needs {most.needed / GIB:.1f} GiB a GPU; "
        f"{recipe.cluster.gpu.name} has {capacity / GIB:.1f} GiB"
    )
    found = tuple(_repairs(recipe, accepts, ("fits", "tight"))) if accepts else ()
    return (Problem(code="out_of_memory", says=says, at="parallel", repairs=found),)


def roomier(recipe: Recipe, accepts: Accepts) -> tuple[Repair, ...]:
    """The cheapest change that makes a tight plan fit."""
    return tuple(islice(_repairs(recipe, accepts, ("fits",)), 1))


def _repairs(recipe: Recipe, accepts: Accepts, wanted: tuple[Verdict, ...]) -> Iterator[Repair]:
    """Changes that were tried and fit, the cheapest first."""
    offered: list[Changes] = []
    for changes in _candidates(recipe):
        if any(known.items() <= changes.items() for known in offered):
            continue
        mended = changed_if_valid(recipe, changes)
        if mended is None or not accepts(mended):
            continue
        peaks = peak_memory(mended)
        if verdict(mended, peaks) not in wanted:
            continue
        offered.append(changes)
        needed = max(peak.needed for peak in peaks)
        yield Repair(overrides=as_overrides(changes), why=f"{needed / GIB:.1f} GiB a GPU")
        if len(offered) == OFFERED:
            return


def _candidates(recipe: Recipe) -> Iterator[Changes]:
    """Single changes, then all cheap ones together, then these with stages, tp or ZeRO-3."""
    single = [change for change in _single(recipe) if change]
    yield from single
    recompute: Changes = {"recompute.kind": "full"}
    together = {key: value for change in _free(recipe) for key, value in change.items()}
    yield together
    yield {**together, **recompute}
    for more in _cuts(recipe):
        for base in ({}, together, {**together, **recompute}):
            yield {**base, **more}


def _free(recipe: Recipe) -> Iterator[Changes]:
    """What costs nothing or little."""
    if recipe.kernels.attention == "auto" and is_unfused(recipe) and not needs_unfused(recipe):
        yield {"kernels.attention": "flash"}
    if recipe.optim.zero == 0:
        yield {"optim.zero": 1}
    if not recipe.parallel.sequence and recipe.parallel.tp > 1:
        yield {"parallel.sequence": True}


def _single(recipe: Recipe) -> Iterator[Changes]:
    yield from _free(recipe)
    if recipe.recompute.kind == "none":
        yield {"recompute.kind": "selective"}
    micro = recipe.batch.micro
    for smaller in (size for size in range(micro - 1, 0, -1) if micro % size == 0):
        yield {"batch.micro": smaller}
    if recipe.recompute.kind != "full":
        yield {"recompute.kind": "full"}


def _cuts(recipe: Recipe) -> Iterator[Changes]:
    """Weights cut too where the engine can; more stages or tp, with one sequence at a time."""
    parallel = recipe.parallel
    one: Changes = {} if recipe.batch.micro == 1 else {"batch.micro": 1}
    if "deepspeed" in recipe.backend.name:
        whole = {"parallel.pp": 1} if parallel.pp > 1 else {}
        yield {"optim.zero": 3, **whole}
        yield {**one, "optim.zero": 3, **whole}
    for times in (2, 3, 4, 6, 8, 12, 16):
        yield {"parallel.pp": parallel.pp * times}
        yield {**one, "parallel.pp": parallel.pp * times}
        if parallel.vpp > 1:
            yield {**one, "parallel.pp": parallel.pp * times, "parallel.vpp": 1}
        tp = parallel.tp * times
        if tp <= recipe.cluster.gpus_per_node:
            yield {"parallel.tp": tp, "parallel.sequence": True}
            yield {**one, "parallel.tp": tp, "parallel.sequence": True}
            yield {**one, "parallel.tp": tp, "parallel.sequence": True, "parallel.pp": tp}
