"""The nearest valid recipes: for each broken rule, changes that were tried and are valid."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from math import isqrt, log

from llmtrain.config.change import Changes, as_overrides, changed, changed_if_valid, value_of
from llmtrain.config.errors import Problem, Repair
from llmtrain.config.layout import data_parallel, microbatches
from llmtrain.config.recipe import Recipe
from llmtrain.config.rules import violations

Candidates = Callable[[Recipe], Iterator[Changes]]

OFFERED = 3
"""Repairs shown for one problem."""
TRIED = 400
"""Candidates tried for one problem: the answer comes at once or not at all."""
COMPLETED = 12
"""Candidates that are tried with what else they need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """What counts as a valid recipe, for who asks for repairs."""

    accepts: Callable[[Recipe], bool]
    """Whether a recipe is valid; one that breaks a rule never is."""
    completes: Callable[[Recipe], Changes] = lambda recipe: {}
    """What a recipe that breaks no rule still needs to be accepted; empty: not known."""


def is_valid(recipe: Recipe) -> bool:
    """Whether ``recipe`` breaks no rule."""
    return not violations(recipe)


RULES = Judge(accepts=is_valid)
"""The rules alone."""


def with_repairs(
    recipe: Recipe, problems: tuple[Problem, ...], judge: Judge = RULES
) -> tuple[Problem, ...]:
    """The problems, each with the repairs that mend the whole recipe.

    Where no single change does, changes for several problems are tried together, then with what
    else the judge asks for, then one after the other; they stand with the first. A planner's judge
    is stricter than rules.
    """
    found = [replace(p, repairs=tuple(repairs(recipe, p.code, judge))) for p in problems]
    if problems and not any(problem.repairs for problem in found):
        together = tuple(_together(recipe, {problem.code for problem in problems}))
        offers = tuple(_offers(recipe, together, judge))
        offers = offers or tuple(_offers(recipe, _completed(recipe, together, judge), judge))
        offers = offers or tuple(_offers(recipe, _in_turn(recipe, problems), judge))
        found[0] = replace(found[0], repairs=offers)
    return tuple(found)


def repairs(recipe: Recipe, code: str, judge: Judge = RULES) -> Iterator[Repair]:
    """Up to three valid changes for a problem with this code, best first."""
    return _offers(recipe, _candidates(recipe, code), judge)


def mending(recipe: Recipe, code: str) -> set[str]:
    """The keys whose values decide whether there is a problem with this code."""
    return {key for changes in islice(_candidates(recipe, code), TRIED) for key in changes}


def _candidates(recipe: Recipe, code: str) -> Iterator[Changes]:
    for maker in CANDIDATES.get(code, ()):
        yield from islice(maker(recipe), TRIED)


def _together(recipe: Recipe, codes: set[str]) -> Iterator[Changes]:
    each = [list(islice(_candidates(recipe, code), 12)) for code in sorted(codes)]
    for combination in islice(product(*each), TRIED):
        merged = {key: value for changes in combination for key, value in changes.items()}
        gone = tuple(f"{key}." for key, value in merged.items() if value is None)
        # What lies below a group that another change takes away is not changed.
        yield {key: value for key, value in merged.items() if not key.startswith(gone)}


def _in_turn(recipe: Recipe, problems: Sequence[Problem]) -> Iterator[Changes]:
    """Changes that mend one problem, and those for what is wrong after them."""
    for problem in reversed(problems):
        for changes, left in islice(_mending(recipe, problem.code), COMPLETED):
            further = _together(changed(recipe, changes), left)
            yield from ({**changes, **more} for more in islice(further, COMPLETED))


def _mending(recipe: Recipe, code: str) -> Iterator[tuple[Changes, set[str]]]:
    """The candidates after which this problem is gone, and the codes of what is left."""
    for changes in _candidates(recipe, code):
        new = changed_if_valid(recipe, changes)
        left = {each.code for each in violations(new)} if new else set()
        if left and code not in left:
            yield changes, left


def _completed(recipe: Recipe, candidates: Sequence[Changes], judge: Judge) -> Iterator[Changes]:
    for changes in candidates[:COMPLETED]:
        mended = changed_if_valid(recipe, changes)
        if mended is not None and is_valid(mended):
            yield {**changes, **judge.completes(mended)}


def _offers(recipe: Recipe, candidates: Iterable[Changes], judge: Judge) -> Iterator[Repair]:
    seen: set[frozenset[str]] = set()
    for candidate in candidates:
        changes = {key: new for key, new in candidate.items() if new != value_of(recipe, key)}
        overrides = as_overrides(changes)
        mended = None if frozenset(overrides) in seen else changed_if_valid(recipe, changes)
        if mended is None or not judge.accepts(mended):
            continue
        seen.add(frozenset(overrides))
        yield Repair(overrides=overrides, why=_why(mended, changes))
        if len(seen) == OFFERED:
            return


def _why(mended: Recipe, changes: Changes) -> str:
    parts = []
    if any(key in changes for key in ("gpus", "parallel.tp", "parallel.pp", "parallel.cp")):
        parts.append(f"dp {data_parallel(mended)}")
    if any(key.startswith("batch.") for key in changes) or "parallel.vpp" in changes:
        parts.append(f"{microbatches(mended)} micro-batches")
    return ", ".join(parts)


def gpu_counts(recipe: Recipe) -> Iterator[Changes]:
    """The nearest number of GPUs above, the nearest below, then the nearest with another batch."""
    size = recipe.parallel.model_size
    counts = [dp * size for dp in _divisors(recipe.batch.global_ // recipe.batch.micro)]
    above = _first_valid(recipe, (gpus for gpus in counts if gpus > recipe.gpus))
    below = _first_valid(recipe, (gpus for gpus in reversed(counts) if gpus < recipe.gpus))
    kept = [gpus for gpus in (above, below) if gpus is not None]
    yield from ({"gpus": gpus} for gpus in kept)
    largest = min(recipe.gpus, _most_gpus(recipe)) // size * size
    for gpus in (*range(largest, max(0, largest - 8 * size), -size), largest + size):
        yield from _gpus_and_batch(recipe, gpus, kept)


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def _most_gpus(recipe: Recipe) -> int:
    nodes = recipe.cluster.nodes
    return (nodes or 10**6) * recipe.cluster.gpus_per_node


def _first_valid(recipe: Recipe, counts: Iterable[int]) -> int | None:
    for gpus in counts:
        mended = changed_if_valid(recipe, {"gpus": gpus})
        if mended is not None and is_valid(mended):
            return gpus
    return None


def _gpus_and_batch(recipe: Recipe, gpus: int, kept: list[int]) -> Iterator[Changes]:
    """``gpus`` with a batch that keeps the micro-batches of a replica, so the step's length."""
    dp = gpus // recipe.parallel.model_size
    for neighbour in kept:
        count = microbatches(replace(recipe, gpus=neighbour))
        yield {"gpus": gpus, "batch.global": count * recipe.batch.micro * dp}
    yield from ({"gpus": gpus, **changes} for changes in batches(replace(recipe, gpus=gpus)))


def batches(recipe: Recipe) -> Iterator[Changes]:
    """The nearest global batches below and above, then a ramp that suits the layout."""
    unit = _batch_unit(recipe)
    down = recipe.batch.global_ // unit * unit
    sizes = [size for size in (down, down + unit) if size]
    sizes.sort(key=lambda size: abs(size - recipe.batch.global_))
    yield from ({"batch.global": size} for size in sizes if size != recipe.batch.global_)
    yield from _ramps(recipe, unit, sizes)


def _ramps(recipe: Recipe, unit: int, sizes: list[int]) -> Iterator[Changes]:
    ramp = recipe.batch.ramp
    if ramp is None:
        return
    start, step = (-(-value // unit) * unit for value in (ramp.start, ramp.step))
    yield {"batch.ramp.start": start, "batch.ramp.step": step}
    for size in sizes:
        rise = (size - start) // step * step
        yield {
            "batch.global": start + rise,
            "batch.ramp.start": start,
            "batch.ramp.step": step,
        }
    yield {"batch.ramp": None}


def _batch_unit(recipe: Recipe) -> int:
    unit = recipe.batch.micro * max(1, data_parallel(recipe))
    return unit * recipe.parallel.pp if recipe.parallel.vpp > 1 else unit


def micro_batches(recipe: Recipe) -> Iterator[Changes]:
    """Smaller micro-batches."""
    yield from ({"batch.micro": micro} for micro in range(recipe.batch.micro - 1, 0, -1))


def degrees(name: str) -> Candidates:
    """Other values of one degree of parallelism, the nearest (as a ratio) first.

    Tensor parallel groups stay inside a node: over the fabric they are never worth their price.
    """

    def candidates(recipe: Recipe) -> Iterator[Changes]:
        asked = getattr(recipe.parallel, name) or recipe.parallel.expert_tp
        inside = name in ("tp", "etp")
        most = recipe.cluster.gpus_per_node if inside else 2 * asked + 8
        values = sorted(range(1, most + 1), key=lambda value: abs(log(value / asked)))
        yield from ({f"parallel.{name}": value} for value in values if value != asked)

    return candidates


def setting(key: str, value: object) -> Candidates:
    """One fixed change."""

    def candidates(recipe: Recipe) -> Iterator[Changes]:
        yield {key: value}

    return candidates


def stages(recipe: Recipe) -> Iterator[Changes]:
    """Other numbers of stages, as they are or without virtual stages."""
    for changes in degrees("pp")(recipe):
        yield changes
        yield {**changes, "parallel.vpp": 1}


_TP, _VPP, _EP, _CP = (degrees(name) for name in ("tp", "vpp", "ep", "cp"))
_NO_VPP = setting("parallel.vpp", 1)

CANDIDATES: dict[str, tuple[Candidates, ...]] = {
    "gpus_not_multiple": (gpu_counts, _TP, stages),
    "expert_gpus_not_multiple": (gpu_counts, _EP),
    "node_not_filled": (gpu_counts,),
    "cluster_too_small": (gpu_counts, _TP, stages),
    "batch_not_divisible": (batches, micro_batches, gpu_counts),
    "microbatches_not_multiple": (batches, _NO_VPP, micro_batches),
    "layers_not_divisible": (
        setting("parallel.layers_per_stage", None),
        setting("parallel.account_for_embedding", False),
        setting("parallel.account_for_loss", False),
        _NO_VPP,
        _VPP,
        stages,
    ),
    "vpp_needs_pp": (_NO_VPP, stages),
    "tp_not_divisor": (_TP,),
    "ep_not_divisor": (_EP,),
    "etp_not_divisor": (degrees("etp"),),
    "expert_biases": (setting("parallel.etp", 1), setting("model.bias", False)),
    "cp_not_divisor": (_CP,),
    "sequence_needs_tp": (setting("parallel.sequence", False), _TP),
    "sequence_needed": (setting("parallel.sequence", True),),
    "zero_with_pipeline": (setting("optim.zero", 1), setting("parallel.pp", 1)),
    "precision_unsupported": (setting("precision.kind", "bf16"),),
    "warmup_too_long": (setting("schedule.decay", None),),
}
"""Which keys could mend a problem, by its code."""
