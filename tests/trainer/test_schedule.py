"""The learning rate against closed formulas and against megatron-core's own scheduler."""

from typing import Any

import pytest

from llmtrain.config.training import Optim, Schedule
from llmtrain.trainer.schedule import learning_rate

STEPS = 100

OPTIM = Optim(lr=1.0, min_lr=0.1)


def rates(schedule: Schedule) -> list[float]:
    """Learning rate of each step of the run."""
    return [learning_rate(done, STEPS, OPTIM, schedule) for done in range(STEPS)]


def test_cosine_at_its_quarters() -> None:
    """After the warm-up the cosine is at its peak, half way between at its middle, then lowest."""
    found = rates(Schedule(kind="cosine", warmup=20))

    assert found[0] == 0
    assert found[10] == 0.5
    assert found[20] == 1
    assert found[60] == pytest.approx(0.55)
    assert learning_rate(STEPS, STEPS, OPTIM, Schedule(kind="cosine", warmup=20)) == 0.1


def test_wsd_has_three_parts() -> None:
    """Warm-up, then the peak, then a straight fall over ``anneal`` steps (arXiv 2404.06395)."""
    found = rates(Schedule(kind="wsd", warmup=10, anneal=20))

    assert found[5] == 0.5
    assert set(found[10:81]) == {1.0}
    assert found[90] == pytest.approx(0.55)


def test_gpt3_schedule() -> None:
    """GPT-3 decays by cosine to a tenth of the peak, and stays (arXiv 2005.14165, appendix B)."""
    optim, schedule = Optim(lr=6e-4, min_lr=6e-5), Schedule(kind="cosine", warmup=4, decay=260)

    assert learning_rate(132, 300, optim, schedule) == pytest.approx((6e-4 + 6e-5) / 2)
    assert learning_rate(299, 300, optim, schedule) == 6e-5


@pytest.mark.filterwarnings("ignore:.*(Transformer Engine|Apex|full scope).*:UserWarning")
@pytest.mark.parametrize("kind", ["constant", "linear", "cosine", "wsd"])
@pytest.mark.parametrize("warmup", [0, 7])
def test_megatron_core_agrees(kind: Any, warmup: int) -> None:
    """Every step has the learning rate of megatron-core's OptimizerParamScheduler."""
    schedule = Schedule(kind=kind, warmup=warmup, decay=80, anneal=15)

    assert rates(schedule) == pytest.approx(megatron_rates(schedule))


class Group:
    """The part of an optimizer that a scheduler sees."""

    def __init__(self) -> None:
        self.param_groups: list[dict[str, float]] = [{}]


def megatron_rates(schedule: Schedule) -> list[float]:
    """What megatron-core's scheduler sets for each step."""
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

    group: Any = Group()
    scheduler = OptimizerParamScheduler(
        group,
        init_lr=0.0,
        max_lr=OPTIM.lr,
        min_lr=OPTIM.min_lr,
        lr_warmup_steps=schedule.warmup,
        lr_decay_steps=schedule.decay or STEPS,
        lr_decay_style="WSD" if schedule.kind == "wsd" else schedule.kind,
        start_wd=0.0,
        end_wd=0.0,
        wd_incr_steps=0,
        wd_incr_style="constant",
        wsd_decay_steps=schedule.anneal,
        lr_wsd_decay_style="linear",
    )
    found = []
    for _ in range(STEPS):
        found.append(group.param_groups[0]["lr"])
        scheduler.step(1)
    return found
