"""What a user should know of a plan that can be launched, with changes that were tried."""

from collections.abc import Iterator, Sequence

from llmtrain.config.change import Changes, as_overrides, changed_if_valid
from llmtrain.config.errors import Problem, Repair
from llmtrain.config.recipe import Recipe
from llmtrain.planner.memory import Peak
from llmtrain.planner.mending import is_launchable
from llmtrain.planner.speed import Speed
from llmtrain.planner.step import recipe_step
from llmtrain.planner.verdict import GIB, roomier, verdict

BUBBLE = 0.15
"""Share of the step from which a bubble is worth a word."""
EXCHANGE = 0.3
"""The same for expert parallel exchanges that nothing hides."""
FASTER = 0.98
"""A change is offered where the step takes at most this share of what it took."""


def advice(recipe: Recipe, peaks: tuple[Peak, ...], speed: Speed | None) -> tuple[Problem, ...]:
    """Warnings of a plan that breaks no rule."""
    found = [*_memory(recipe, peaks), *_place(recipe)]
    if speed is not None:
        found += _bubble(recipe, speed)
        found += _exchange(recipe, speed)
    return tuple(found)


def _memory(recipe: Recipe, peaks: tuple[Peak, ...]) -> Iterator[Problem]:
    if verdict(recipe, peaks) != "tight":
        return
    most = max(peaks, key=lambda peak: peak.needed)
    capacity = recipe.cluster.gpu.memory_bytes or 0
    says = (
        f"stage {peaks.index(most)} needs {most.needed / GIB:.1f} of {capacity / GIB:.1f} GiB "
        "a GPU: less room than the model's own error"
    )
    yield Problem(code="tight_memory", says=says, repairs=roomier(recipe, is_launchable))


def _place(recipe: Recipe) -> Iterator[Problem]:
    tp, node = recipe.parallel.tp, recipe.cluster.gpus_per_node
    if tp <= node:
        return
    says = f"= {tp} is more than the {node} GPUs of a node: its messages leave NVLink"
    cut: Changes = {"parallel.tp": node, "parallel.pp": recipe.parallel.pp * tp // node}
    repairs = tuple(_launchable(recipe, (cut,)))
    yield Problem(code="tp_leaves_node", key="parallel.tp", says=says, repairs=repairs)


def _bubble(recipe: Recipe, speed: Speed) -> Iterator[Problem]:
    share = speed.breakdown["bubble"] / speed.step_seconds
    if share < BUBBLE:
        return
    says = f"the pipeline's bubble takes {share:.0%} of the step"
    hint = "more micro-batches of a step, or fewer stages, make it smaller"
    each = recipe.model.layers // recipe.parallel.pp
    chunks = [n for n in range(2, min(each, 8) + 1) if each % n == 0 and n != recipe.parallel.vpp]
    repairs = tuple(_faster(recipe, speed, [{"parallel.vpp": n} for n in chunks]))
    yield Problem(code="bubble", says=says, hint=hint, repairs=repairs[-1:])


def _exchange(recipe: Recipe, speed: Speed) -> Iterator[Problem]:
    share = speed.breakdown["expert_parallel"] / speed.step_seconds
    if share < EXCHANGE:
        return
    says = f"exchanges between experts that nothing hides take {share:.0%} of the step"
    hint = "experts within a node, or a program that hides the exchanges, save it"
    inside = {"parallel.ep": recipe.cluster.gpus_per_node // recipe.parallel.expert_tp}
    repairs = tuple(_faster(recipe, speed, [inside]))
    yield Problem(code="exposed_exchange", key="", says=says, hint=hint, repairs=repairs)


def _launchable(recipe: Recipe, tries: Sequence[Changes]) -> Iterator[Repair]:
    for changes in tries:
        if (mended := changed_if_valid(recipe, changes)) is not None and is_launchable(mended):
            yield Repair(overrides=as_overrides(changes))


def _faster(recipe: Recipe, speed: Speed, tries: Sequence[Changes]) -> Iterator[Repair]:
    """Changes that can be launched and are faster, the fastest last."""
    found = []
    for changes in tries:
        mended = changed_if_valid(recipe, changes)
        step = None if mended is None or not is_launchable(mended) else recipe_step(mended)
        if step is not None and step.seconds < FASTER * speed.step_seconds:
            found.append(
                (step.seconds, Repair(overrides=as_overrides(changes), why=f"{step.seconds:.2f} s"))
            )
    for _, repair in sorted(found, key=lambda one: -one[0]):
        yield repair
