"""What DeepSpeed's engine keeps beside the model states, and sizes that it is given for a recipe.

Sources: DeepSpeed 0.19.8 ``runtime/zero/stage_1_and_2.py``, ``stage3.py``, ``config.py``; held
against the bytes of its tensors on a CPU (tests/trainer/test_engine_bytes.py).
"""

from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.planner.candidate import candidate_of
from llmtrain.planner.model_states import gradient_bytes, optimizer_bytes, sharded
from llmtrain.planner.numeric import Quantity, choose, smallest
from llmtrain.planner.parameters import Count, rank_parameters
from llmtrain.planner.setting import Setting

LARGEST_BUCKET = 500_000_000
"""Parameters that DeepSpeed reduces at once unless told otherwise."""

LIVE_PARAMETERS = 1_000_000_000
"""Parameters that ZeRO-3 leaves gathered unless told otherwise."""

PERSISTENT_ROWS = 10
"""Vectors of the model's width: smaller parameters stay whole with ZeRO-3."""


def buckets(recipe: Recipe) -> dict[str, int]:
    """Keys of ``zero_optimization`` that depend on the model's size.

    DeepSpeed allocates the whole bucket, filled or not.
    """
    zero = recipe.optim.zero
    most = max(rank_parameters(recipe, stage).total for stage in range(recipe.parallel.pp))
    sizes = {"reduce_bucket_size": min(LARGEST_BUCKET, most)} if zero else {}
    if zero == 3:
        sizes["stage3_param_persistence_threshold"] = PERSISTENT_ROWS * recipe.model.hidden
    return sizes


def engine_bytes(recipe: Recipe, setting: Setting, parameters: Count) -> Quantity:
    """Most bytes of buckets, and of gradients that are not reduced yet, of weights gathered.

    Stage 0 copies gradients together to reduce them. Stages 1 to 3 do it in a bucket; what is not
    reduced stays where it is until the bucket is full. Stage 1 makes the shard's gradients apart
    from those of all parameters. Stage 3 leaves weights gathered as they are likely needed again.
    """
    if not (trains(recipe) and "deepspeed" in recipe.backend.name):
        return 0.0
    zero, width = setting.layout.zero, setting.width
    sums = gradient_bytes(recipe.precision, recipe.optim)
    bucket = smallest(parameters.total, LARGEST_BUCKET)
    twice = choose(zero > 0, 1 + recipe.optim.overlap_grad_reduce, 1)
    reduces = choose(zero > 0, 1, choose(setting.layout.dp > 1, 1, 0))
    filled = bucket * choose(zero < 2, sums, width) * twice * reduces
    waiting = bucket * choose(zero < 2, width * (width < sums), width)
    shard = choose(zero == 1, sharded(setting.layout, parameters, 4, 1), 0)
    live = choose(zero > 2, smallest(parameters.total, LIVE_PARAMETERS) * width, 0)
    return filled + waiting + shard + live


def host_bytes(recipe: Recipe, parameters: Count) -> int:
    """Bytes of a rank in host memory: offloaded states, their gradients, weights on their way."""
    if not recipe.optim.offload:
        return 0
    each = optimizer_bytes(recipe) + 4 + recipe.precision.weight_bytes
    return round(sharded(candidate_of(recipe), parameters, each, 1))
