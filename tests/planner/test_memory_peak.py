"""Peak memory: published figures, one model for one layout and for many, verdict and repairs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.planner.activations import Chunk
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.plan import make_plan, plan_json
from llmtrain.planner.setting import Recomputed, Setting, setting_of
from llmtrain.planner.timeline import Held, timeline
from llmtrain.planner.verdict import fits, out_of_memory, verdict

GIB = 2**30
NONE = ("recompute.kind=none", "parallel.sequence=false")
SELECTIVE = ("recompute={kind: selective, modules: [core_attn]}", "parallel.sequence=true")
LAYERS = "gpt3-530b", "gpus=280", "batch.global=280"
SMALL = ("gpt3-175b", "gpus=64", "batch={micro: 1, global: 64}", "parallel.vpp=3", "precision=fp16")


def recipe(name: str, *overrides: str) -> Recipe:
    """A shipped recipe."""
    return compose([f"recipe={name}", *overrides])


@pytest.mark.parametrize(
    ("arguments", "gib"),
    [
        # Korthikanti et al. 2022, arXiv 2205.05198, figures 1 and 7 as transcribed in
        # calculon-ai/calculon calculon/llm/validation.py: activations of the first stage.
        pytest.param((*LAYERS, *SELECTIVE), 23.08, id="530B selective"),
        pytest.param((*LAYERS, *NONE), 114.02, id="530B none"),
        pytest.param(("gpt3-1t", *SELECTIVE), 26.56, id="1T selective"),
        pytest.param(("gpt3-1t", *NONE), 131.25, id="1T none"),
        pytest.param((*SMALL, "model.dropout=0.1", "kernels.attention=unfused", *NONE), 66.84),
        pytest.param((*SMALL, "model.dropout=0.1", "kernels.attention=unfused", *SELECTIVE), 12.35),
    ],
)
def test_published_activations(arguments: tuple[str, ...], gib: float) -> None:
    """They leave out the dropout behind the embedding, one byte an element and micro-batch in
    flight, and the statistics of norms: we are above by no more than that."""
    first = peak_memory(recipe(*arguments))[0].memory

    assert first.activations / GIB == pytest.approx(gib, rel=0.025)
    assert first.activations / GIB > gib


def test_published_states() -> None:
    """The same source: 18 bytes a parameter of a 530B stage without embedding, 31.64 GiB."""
    middle = peak_memory(recipe(*LAYERS))[1].memory

    assert middle.model_states / GIB == pytest.approx(31.64, abs=0.01)


def test_recompute_ladder() -> None:
    """More recompute keeps less; sequence parallel keeps less than without it."""
    kept = [
        peak_memory(recipe(*LAYERS, *overrides))[0].memory.activations
        for overrides in (NONE, SELECTIVE, ("recompute={kind: full}", "parallel.sequence=true"))
    ]

    assert kept == sorted(kept, reverse=True)


def batch(one: Recipe) -> tuple[Setting, list[Recipe]]:
    """Layouts of ``one`` as a setting of arrays, and one by one."""
    recipes = [
        changed(one, {"parallel.tp": tp, "batch.micro": micro, "parallel.pp": pp})
        for tp, micro, pp in ((2, 1, 1), (4, 2, 4), (8, 1, 8), (8, 4, 2))
    ]
    settings = [setting_of(each) for each in recipes]
    names = (
        "gpus",
        "tp",
        "pp",
        "vpp",
        "cp",
        "ep",
        "etp",
        "dp",
        "micro",
        "microbatches",
        "sequence",
    )
    layout = replace(settings[0].layout, **{n: _array(settings, n) for n in names})
    return replace(settings[0], layout=layout), recipes


def _array(settings: list[Setting], name: str) -> Any:
    return np.array([getattr(setting.layout, name) for setting in settings])


@pytest.mark.parametrize(
    "recomputed",
    [Recomputed(), Recomputed(full=1), Recomputed(modules=frozenset({"core_attn", "mlp"}))],
)
@pytest.mark.parametrize("name", ["gpt3-175b", "llama3-70b", "mixtral-8x7b"])
def test_one_model(name: str, recomputed: Recomputed) -> None:
    """Arrays of layouts give what each layout gives alone."""
    base = {"parallel.vpp": 1, "parallel.sequence": True, "parallel.cp": 1, "gpus": 512}
    one = changed(recipe(name), {**base, "batch.global": 2048})
    many, recipes = batch(one)
    many = replace(many, recomputed=recomputed)
    experts = one.model.experts is not None
    each = one.model.layers // many.layout.pp
    chunk = Chunk(moe=each) if experts else Chunk(dense=each)
    together = timeline(many, Held(stage=0 * each, chunks=(chunk,)))

    for number, alone in enumerate(recipes):
        setting = replace(setting_of(alone), recomputed=recomputed)
        layers = one.model.layers // alone.parallel.pp
        chunk = Chunk(moe=layers) if experts else Chunk(dense=layers)
        expected = timeline(setting, Held(stage=0, chunks=(chunk,)))
        for found, moment in zip(together, expected, strict=True):
            total = np.broadcast_to(found.total, (len(recipes),))
            assert total[number] == pytest.approx(moment.total)


def test_verdicts() -> None:
    """It fits on 80 GB, is tight where the model's error is in doubt, and does not fit on 40 GB."""
    one = recipe("gpt3-530b")
    peaks = peak_memory(one)
    most = max(peak.needed for peak in peaks)

    def on(bytes_: int | None) -> Recipe:
        return changed(one, {"cluster.gpu.memory_bytes": bytes_})

    assert verdict(on(2 * most), peaks) == "fits"
    assert verdict(on(most + 1), peaks) == "tight"
    assert verdict(on(most - 1), peaks) == "no"
    assert verdict(on(None), peaks) is None


def test_plan_tells() -> None:
    """A plan that does not fit is whole, and its repairs were tried."""
    one = recipe("gpt3-530b", "recompute.kind=none")
    plan = plan_json(make_plan(one))

    assert plan["verdict"] == "no" and plan["fits"] is False
    assert plan["peak_memory_bytes"] > plan["memory_capacity_bytes"]
    assert plan["peak_memory_bytes"] == max(s["memory"]["total"] for s in plan["stages"])
    for stage in plan["stages"]:
        *parts, total = stage["memory"].values()
        assert sum(parts) == total
    (error,) = plan["errors"]
    assert error["code"] == "out_of_memory" and error["repairs"]
    for repair in error["repairs"]:
        assert fits(recipe("gpt3-530b", "recompute.kind=none", *repair["overrides"]))


def test_no_problem_where_it_fits() -> None:
    """A plan that fits has no such error, and a tight one counts as fitting."""
    for name in ("gpt3-530b", "llama3-405b"):
        one = recipe(name)

        assert out_of_memory(one, peak_memory(one)) == ()
        assert plan_json(make_plan(one))["fits"] is True


def test_more_stages_where_nothing_else_helps() -> None:
    """A model that no recompute squeezes onto its GPUs is cut further."""
    one = recipe("llama3-70b", "gpus=64", "parallel={tp: 2, pp: 1, vpp: 1, cp: 1, sequence: true}")
    problems = make_plan(one).errors

    assert [problem.code for problem in problems] == ["out_of_memory"]
    keys = {o.split("=")[0] for repair in problems[0].repairs for o in repair.overrides}
    assert keys & {"parallel.pp", "parallel.tp"}
