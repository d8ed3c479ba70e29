"""Whether a recipe's program can go on from a checkpoint, and what it takes."""

from collections.abc import Iterator, Mapping

from llmtrain.config.layout import degrees
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.runs.checkpoints.converting import converted, converted_already
from llmtrain.runs.checkpoints.outcome import Verdict, no
from llmtrain.runs.checkpoints.programs import resave_flags, reshardable
from llmtrain.runs.checkpoints.stored import Format, Stored

READS: dict[str, tuple[Format, ...]] = {
    "megatron-core": ("torch_dist",),
    "megatron-core+deepspeed": ("deepspeed", "universal"),
    "megatron-lm": ("torch_dist", "megatron"),
    "megatron-deepspeed": ("deepspeed", "universal"),
    "deepspeed": ("deepspeed", "universal"),
}
"""Formats that each program reads."""

DEGREES = ("tp", "pp", "vpp", "cp", "ep", "etp", "dp")
CUT = ("tp", "pp", "vpp", "ep", "etp")
"""Degrees that decide which weights a rank has; the others only repeat them."""


ALIKE = {2: 1}
"""Stages of ZeRO whose states DeepSpeed reads for one another, universal ones too (tried with
0.19.8: 1 and 2 read each other's, 0, 1 and 3 do not)."""


def verdict(stored: Stored, recipe: Recipe) -> Verdict:
    """Whether the program of ``recipe`` can go on from ``stored``."""
    reasons = [*_unreadable(stored, recipe), *_other_model(stored, recipe)]
    if reasons:
        return no(reasons[0])
    changed = changes(stored.layout, degrees(recipe))
    rule = {
        "torch_dist": _torch_dist,
        "megatron": _megatron,
        "deepspeed": _deepspeed,
        "universal": _universal,
    }[stored.format]
    return rule(stored, recipe, changed)


def strange(stored: Stored, recipe: Recipe) -> Verdict:
    """The same for a checkpoint that the program does not look for."""
    found = verdict(stored, recipe)
    if found.outcome == "no":
        return found
    if stored.path.name.endswith(".damaged"):
        return no("it was set aside, its files are not what was written")
    if not trains(recipe) and stored.format == "deepspeed":
        changed = changes(stored.layout, degrees(recipe))
        cut = {name: text for name, text in changed.items() if name in (*CUT, "dp")}
        cut = cut or {"dp": "`checkpoint.universal` = true"}
        return converted("deepspeed", stored, recipe, cut)
    if not trains(recipe) and stored.format == "universal":
        return converted_already()
    return no(f"{recipe.backend.name} does not look for a checkpoint of this name")


def changes(was: Mapping[str, int], now: Mapping[str, int]) -> dict[str, str]:
    """Degrees that differ, as ``2 → 1``; what the checkpoint does not say is not compared."""
    # Without experts their tensor parallel degree means nothing.
    names = [name for name in DEGREES if name != "etp" or now["ep"] > 1]
    return {
        name: f"{name} {was[name]} → {now[name]}"
        for name in names
        if name in was and was[name] != now[name]
    }


def _unreadable(stored: Stored, recipe: Recipe) -> Iterator[str]:
    if stored.damage:
        yield stored.damage
    if stored.format not in READS[recipe.backend.name]:
        yield f"{recipe.backend.name} does not read the format {stored.format}"


def _other_model(stored: Stored, recipe: Recipe) -> Iterator[str]:
    """Sizes of the model that are not the recipe's."""
    model = recipe.model
    ours = {
        "layers": model.layers,
        "hidden": model.hidden,
        "heads": model.heads,
        "kv_heads": model.kv_head_count,
        "ffn": model.ffn_size,
        "experts": model.experts or 0,
    }
    if model.positions == "learned":
        ours["seq"] = model.seq
    for name, size in ours.items():
        if stored.sizes.get(name, size) != size:
            yield f"its `model.{name}` is {stored.sizes[name]}, the recipe's {size}"
    rows, tp = stored.sizes.get("vocab"), stored.layout.get("tp")
    if rows and tp and rows != model.padded_vocab(tp):
        yield (
            f"its vocabulary, padded for tp {tp}, has {rows} rows, the recipe's "
            f"{model.padded_vocab(tp)} (`model.vocab`, `model.vocab_multiple`)"
        )


def _as_is() -> Verdict:
    return Verdict(outcome="as_is", says="loads as it is")


def _resharded(changed: Mapping[str, str]) -> Verdict:
    if not changed:
        return _as_is()
    return Verdict(outcome="resharded", says=f"loads resharded: {', '.join(changed.values())}")


def _torch_dist(stored: Stored, recipe: Recipe, changed: Mapping[str, str]) -> Verdict:
    other = _other_zero(stored, recipe)
    if other is not None:
        return other
    cut = [text for name, text in changed.items() if name in CUT]
    if cut and not reshardable(stored.optimizer):
        flags = " or ".join(f"`{flag}`" for flag in resave_flags())
        return no(
            f"{', '.join(cut)}, and the optimizer's state is cut by the old layout "
            f"({stored.optimizer}); save once more in the old layout with {flags}"
        )
    return _resharded(changed)


def _megatron(stored: Stored, recipe: Recipe, changed: Mapping[str, str]) -> Verdict:
    """A file a rank: every rank must find its own. Replicas read the same ones."""
    other = _other_zero(stored, recipe)
    if other is not None:
        return other
    cut = {name: text for name, text in changed.items() if name in CUT}
    return converted("megatron", stored, recipe, cut) if cut else _resharded(changed)


def _deepspeed(stored: Stored, recipe: Recipe, changed: Mapping[str, str]) -> Verdict:
    """Without ZeRO a replica's files are whole; else there is a part for each replica."""
    other = _other_zero(stored, recipe)
    if other is not None:
        return other
    sharded = recipe.optim.zero > 0
    names = (*CUT, "dp") if sharded else CUT
    cut = {name: text for name, text in changed.items() if name in names}
    if not cut:
        return _resharded(changed)
    if not sharded:
        return no(f"{', '.join(cut.values())}, and only a checkpoint of ZeRO can be converted")
    if trains(recipe):
        return _by_itself(stored, recipe, list(cut.values()))
    return converted("deepspeed", stored, recipe, cut)


def _by_itself(stored: Stored, recipe: Recipe, cut: list[str]) -> Verdict:
    """The reference trainer converts when it starts; ZeRO-3 is cut over replicas alone anew."""
    ours = degrees(recipe)
    for name, what in (("tp", "tensor"), ("ep", "expert")):
        if recipe.optim.zero == 3 and max(ours[name], stored.layout.get(name, 1)) > 1:
            return no(f"{', '.join(cut)}, and ZeRO-3 with {what} parallel has its own layout only")
    says = f"loads resharded: {', '.join(cut)}; the job makes a universal checkpoint of it first"
    return Verdict(outcome="resharded", says=says)


def _universal(stored: Stored, recipe: Recipe, changed: Mapping[str, str]) -> Verdict:
    return _other_zero(stored, recipe) or _resharded(changed)


def _other_zero(stored: Stored, recipe: Recipe) -> Verdict | None:
    """Stages 1 and 2 keep their state alike, the others each in its own way."""
    was, now = stored.layout.get("zero", recipe.optim.zero), recipe.optim.zero
    if ALIKE.get(was, was) == ALIKE.get(now, now):
        return None
    return no(f"the optimizer's state was written with `optim.zero` = {was}, not {now}")
