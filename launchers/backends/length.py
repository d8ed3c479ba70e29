"""How long a run is, in the units that Megatron counts: steps, or samples where a batch ramps up.

Megatron counts samples there because its steps differ in size (``arguments.py``: "expected no
batch-size rampup for iteration-based training").
"""

from llmtrain.config.layout import samples_after, total_steps
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.arguments import Arguments


def total_samples(recipe: Recipe) -> int:
    """Sequences of the whole run.

    Raises:
        ValueError: if the recipe gives no length; ``inexpressible`` finds that first.
    """
    if recipe.run.steps is None and recipe.tokens is not None:
        return -(-recipe.tokens // recipe.model.seq)
    return samples_after(recipe, run_steps(recipe))


def run_steps(recipe: Recipe) -> int:
    """Steps of the whole run.

    Raises:
        ValueError: if the recipe gives no length; ``inexpressible`` finds that first.
    """
    steps = total_steps(recipe)
    if steps is None:
        raise ValueError("neither `run.steps` nor `tokens` is given")
    return steps


def length(recipe: Recipe) -> Arguments:
    """Run, warm-up and decay, all in steps or all in samples."""
    schedule = recipe.schedule
    decay = schedule.decay or run_steps(recipe)
    wsd, anneal = schedule.kind == "wsd", schedule.anneal_steps(run_steps(recipe))
    if recipe.batch.ramp is None:
        return {
            "--train-iters": run_steps(recipe),
            "--lr-decay-iters": decay,
            "--lr-warmup-iters": schedule.warmup,
            "--lr-wsd-decay-iters": anneal if wsd else None,
        }
    ends = total_samples(recipe) if schedule.decay is None else samples_after(recipe, decay)
    last = samples_after(recipe, decay - anneal) if wsd else 0
    return {
        "--train-samples": total_samples(recipe),
        "--lr-decay-samples": ends,
        "--lr-warmup-samples": samples_after(recipe, schedule.warmup),
        "--lr-wsd-decay-samples": ends - last if wsd else None,
    }
