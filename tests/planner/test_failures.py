"""Failures and length: published checkpoints and days, closed forms against a simulation."""

import random
from dataclasses import replace

import pytest

from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.config.layout import total_steps
from llmtrain.planner.checkpoints import checkpoint_bytes, checkpoints_of
from llmtrain.planner.failures import (
    Exposure,
    Saving,
    best_interval,
    exposure_of,
    goodput,
    node_days,
    spare_wait,
    young,
)
from llmtrain.planner.length import length_of, steps_by_size
from llmtrain.planner.outlook import outlook_json, outlook_of, outlook_warnings
from llmtrain.planner.step import recipe_step


def simulated(exposure: Exposure, interval: float, work: float) -> float:
    """Goodput of one long run whose failures come by chance, event by event."""
    chance = random.Random(0)
    saving = exposure.saving
    clock = done = safe = 0.0
    writing: tuple[float, float] | None = None  # when it is safe, and how much work it holds
    fails = chance.expovariate(1 / exposure.between_failures)
    while done < work:
        end = clock + interval + saving.blocking
        if fails >= end:
            if writing and writing[0] <= end:
                safe, writing = writing[1], None
            clock, done = end, done + interval
            writing = (end + saving.persisting, done)
            continue
        if writing and writing[0] <= fails:
            safe = writing[1]
        clock, writing, done = fails, None, safe
        while True:  # a failure during the restart begins it anew
            fails = clock + chance.expovariate(1 / exposure.between_failures)
            if fails >= clock + exposure.restart:
                clock += exposure.restart
                break
            clock = fails
    return done / clock


CASES = [
    Exposure(between_failures=40_000, restart=620, saving=Saving(blocking=20)),
    Exposure(between_failures=5_000, restart=600, saving=Saving(blocking=120)),
    Exposure(between_failures=10_000, restart=600, saving=Saving(blocking=2, persisting=60)),
]


@pytest.mark.parametrize("exposure", CASES)
@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_goodput_is_what_a_simulation_finds(exposure: Exposure, times: float) -> None:
    """Some ten thousand failures, at the best interval and beside it."""
    interval = max(best_interval(exposure) * times, exposure.saving.persisting)

    found = simulated(exposure, interval, 1e4 * exposure.between_failures)

    assert goodput(exposure, interval) == pytest.approx(found, rel=0.015)


@pytest.mark.parametrize("exposure", CASES)
def test_no_other_interval_is_better(exposure: Exposure) -> None:
    """The best interval is the best of the closed form, and Young's is near it."""
    best = best_interval(exposure)
    shares = [goodput(exposure, best * times) for times in (0.6, 0.8, 1.25, 1.6)]

    if best > exposure.saving.persisting:
        assert goodput(exposure, best) > max(shares)
        assert young(exposure) == pytest.approx(best, rel=0.15)
    else:
        assert goodput(exposure, best) > max(shares[2:])


def test_published_checkpoints() -> None:
    """BLOOM's checkpoint of 2.3 TB, 329 GB of it weights (its blog), counts 2^40 as a TB."""
    recipe = compose(["recipe=bloom-176b"])

    assert checkpoint_bytes(recipe) / 2**40 == pytest.approx(2.3, rel=0.02)
    assert checkpoint_bytes(recipe) * 2 / 14 / 2**30 == pytest.approx(329, rel=0.03)


def test_bytes_of_a_parameter_by_numbers() -> None:
    """fp32: weight and moments; 16 bits: a copy in fp32 too, unless there is none."""
    recipe = compose(["recipe=gpt3-5b"])
    total = checkpoint_bytes(recipe) // 14

    assert checkpoint_bytes(changed(recipe, {"precision.kind": "fp32"})) == 12 * total
    assert checkpoint_bytes(changed(recipe, {"optim.master": False})) == 10 * total


def test_space_a_day_and_quota() -> None:
    """1000 s between checkpoints are 86.4 a day; a quota below three of them is reported."""
    recipe = compose(["recipe=gpt3-5b"])
    one = checkpoint_bytes(recipe)
    space = checkpoints_of(recipe, 10.0, 100)

    assert space.bytes_per_day == pytest.approx(86.4 * one)
    assert space.kept_bytes == 3 * one
    small = changed(recipe, {"site.checkpoint_quota_bytes": 3 * one - 1})
    assert [each.code for each in outlook_warnings(small, None)] == ["quota_too_small"]
    enough = changed(recipe, {"site.checkpoint_quota_bytes": 3 * one})
    assert outlook_warnings(enough, None) == ()


@pytest.mark.parametrize("name", ["bloom-176b", "mt-nlg-530b", "gpt3-5b", "deepseek-v3"])
def test_steps_of_a_ramp_are_those_of_the_run(name: str) -> None:
    """Also where the run ends on the ramp."""
    recipe = compose([f"recipe={name}"])
    by_size = steps_by_size(recipe)

    assert by_size is not None
    assert sum(steps for _, steps in by_size) == total_steps(recipe)
    short = changed(recipe, {"run.steps": 1000})
    assert sum(steps for _, steps in steps_by_size(short) or ()) == 1000


@pytest.mark.parametrize("name", ["bloom-176b", "mt-nlg-530b"])
def test_a_ramp_is_integrated(name: str) -> None:
    """The steps of every size at their own time, though only a few are computed."""
    recipe = compose([f"recipe={name}"])
    length = length_of(recipe)
    each = 0.0
    for size, steps in steps_by_size(recipe) or ():
        flat = replace(recipe.batch, global_=size, ramp=None)
        step = recipe_step(replace(recipe, batch=flat))
        assert step is not None
        each += steps * step.seconds

    assert length is not None
    assert length.seconds == pytest.approx(each, rel=1e-9)


def test_published_days() -> None:
    """BLOOM took 106 days net; NeMo says about 24 for its 175B on 1024 A100."""
    bloom, nemo = (length_of(compose([f"recipe={n}"])) for n in ("bloom-176b", "gpt3-175b"))

    assert bloom is not None and nemo is not None
    assert bloom.days == pytest.approx(106, rel=0.10)
    assert nemo.days == pytest.approx(24, rel=0.10)


def test_the_site_knows_better_than_priors() -> None:
    """Its failure rate, storage, restart and price are used."""
    recipe = changed(
        compose(["recipe=gpt3-175b"]),
        {
            "site.node_days_per_failure": 128.0,
            "site.checkpoint_gb_per_s": 100.0,
            "site.restart_seconds": 1000.0,
            "site.gpu_hour_price": 2.0,
        },
    )
    exposure = exposure_of(recipe, node_days(recipe)[1])
    plan = outlook_json(outlook_of(recipe))

    assert exposure.between_failures == pytest.approx(86_400)
    assert exposure.saving.blocking == pytest.approx(checkpoint_bytes(recipe) / 100e9)
    assert exposure.restart == pytest.approx(1000 + exposure.saving.blocking)
    good = plan["goodput"]
    assert good["price"] == pytest.approx(2 * good["gpu_hours"])
    assert good["energy_mwh"] == pytest.approx(good["gpu_hours"] * 400 / 1e6)
    assert good["days"] == pytest.approx(plan["days"] / good["fraction"])
    assert good["days_range"][0] < good["days"] < good["days_range"][1]
    assert good["failure_rate_source"] == "site.node_days_per_failure"
    assert good["restart_parts"] == {"site": 1000, "load": pytest.approx(good["persist_seconds"])}
    assert 0.5 < good["fraction"] < good["best_fraction"] < good["asynchronous_fraction"] < 1


def test_an_asynchronous_checkpoint_blocks_for_its_snapshot_alone() -> None:
    """What is being written bounds the interval, whatever the failures; priors name their run."""
    recipe = compose(["recipe=mt-nlg-530b", "site.checkpoint_gb_per_s=10"])
    outlook = outlook_of(recipe)
    assert outlook is not None
    good, step = outlook.goodput, outlook.length.seconds / outlook.length.steps

    assert good.snapshot_seconds < 1 < 700 < good.checkpoint_seconds
    assert good.persist_seconds == good.checkpoint_seconds
    assert good.asynchronous_interval_steps * step >= good.persist_seconds
    assert (good.asynchronous_interval_steps - 1) * step < good.persist_seconds
    assert good.failure_rate_source == "bloom"
    assert list(good.restart_parts) == [
        "detect", "scheduler", "container", "import", "warm_up", "load",
    ]  # fmt: skip


def test_each_spare_is_worth_less() -> None:
    """Waiting shrinks with every spare node, and to nothing."""
    recipe = compose(["recipe=gpt3-530b"])
    waits = [spare_wait(recipe, spares) for spares in range(9)]

    assert waits[0] == 86_400
    assert waits == sorted(waits, reverse=True)
    assert waits[8] < 60
