"""The learning rate of each step. Plain arithmetic, Megatron's conventions.

Source: megatron-core ``optimizer_param_scheduler.py``; a step is counted by the steps that are
already done, so with a warm-up the first step has a learning rate of zero.
"""

import math

from llmtrain.config.training import Optim, Schedule


def learning_rate(done: int, steps: int, optim: Optim, schedule: Schedule) -> float:
    """Learning rate of the step after ``done`` steps, in a run of ``steps``."""
    if schedule.warmup and done <= schedule.warmup:
        return optim.lr * done / schedule.warmup
    if schedule.kind == "constant":
        return optim.lr
    end = schedule.decay or steps
    if done > end:
        return optim.min_lr
    return optim.min_lr + _share(done, end, steps, schedule) * (optim.lr - optim.min_lr)


def _share(done: int, end: int, steps: int, schedule: Schedule) -> float:
    """How much of the way from ``min_lr`` to ``lr`` is left, 1 to 0."""
    if schedule.kind == "wsd":
        return min(1.0, (end - done) / schedule.anneal_steps(steps))
    passed = (done - schedule.warmup) / max(1, end - schedule.warmup)
    if schedule.kind == "linear":
        return 1 - passed
    return (1 + math.cos(math.pi * passed)) / 2
