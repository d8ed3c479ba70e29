"""How long a run is and how its learning rate moves: steps, samples or tokens to steps."""

from math import ceil

from llmtrain.config.layout import steps_for_samples, total_steps
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.importing.reading import Keys, Reading

KINDS = {"constant": "constant", "linear": "linear", "cosine": "cosine", "WSD": "wsd"}


def length_of(r: Reading, seq: int | None) -> Keys:
    """``run.steps`` or ``tokens``: what the program counts the whole run in."""
    iters, samples = r.get("--train-iters"), r.get("--train-samples")
    tokens = r.get("--train-tokens")
    if iters:
        return {"run": {"steps": int(iters)}}
    if tokens:
        return {"tokens": int(tokens)}
    if samples and seq:
        return {"tokens": int(samples) * seq}
    return {}


def schedule_keys(r: Reading, recipe: Recipe) -> Keys:
    """``schedule.*`` in steps of ``recipe``, which has batch and length already."""
    kind = KINDS.get(str(r.get("--lr-decay-style")))
    if kind is None:
        r.note("--lr-decay-style", f"recipes have {', '.join(sorted(KINDS.values()))}")
    total = total_steps(recipe)
    decay = _steps(r, recipe, "--lr-decay-{}")
    end = decay or total
    warmup = _steps(r, recipe, "--lr-warmup-{}") or 0
    share = r.get("--lr-warmup-fraction")
    if share and end:
        warmup = int(float(share) * end)
    keys: Keys = {
        "kind": kind or "cosine",
        "warmup": warmup,
        "decay": None if decay == total else decay,
    }
    if kind == "wsd":
        r.has("--lr-wsd-decay-style")
        keys["anneal"] = _anneal(r, recipe, end)
    return keys


def _steps(r: Reading, recipe: Recipe, flag: str) -> int | None:
    iters = r.get(flag.format("iters"))
    samples = r.get(flag.format("samples"))
    tokens = r.get(flag.format("tokens"))
    if iters:
        return int(iters)
    if tokens:
        samples = ceil(int(tokens) / recipe.model.seq)
    return steps_for_samples(recipe, int(samples)) if samples else None


def _anneal(r: Reading, recipe: Recipe, end: int | None) -> int | None:
    samples = r.get("--lr-wsd-decay-samples")
    found = r.get("--lr-wsd-decay-iters")
    if samples and end:
        found = round(int(samples) / recipe.batch.global_)
    total = total_steps(recipe)
    return None if total and found == recipe.schedule.anneal_steps(total) else found
