"""What a plan says of its data, held against the datasets that megatron-core builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmtrain.config.build import build
from llmtrain.config.recipe import Recipe
from llmtrain.data.indexed import write_index
from llmtrain.planner.plan import make_plan, plan_json
from llmtrain.planner.sets import SetUse, sets_of
from tests.trainer.conftest import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*(Transformer Engine|Apex).*:UserWarning")

SIZES = {"web": 90, "code": 41}
"""Documents by set."""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other rank is there to wait for, whatever other tests have set up."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: False)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)


@pytest.fixture
def prefixes(tmp_path: Path) -> list[str]:
    """Two sets of documents of many lengths."""
    for seed, (name, documents) in enumerate(SIZES.items()):
        lengths = np.random.default_rng(seed).integers(1, 60, documents, np.int32)
        write_index(tmp_path / f"{name}.idx", "uint8", lengths)
        (tmp_path / f"{name}.bin").write_bytes(bytes(int(lengths.sum())))
    return [str(tmp_path / name) for name in SIZES]


def recipe(folder: Path, steps: int = 30, seed: int = 1, **data: Any) -> Recipe:
    """Of 4 samples a step, with its indices in ``folder``."""
    about = {"kind": "indexed", "cache": str(folder / "cache"), **data}
    return tiny(steps, data=about, run={"steps": steps, "seed": seed})


def built(recipe: Recipe) -> dict[tuple[str, str], Any]:
    """megatron-core's datasets, each of one set, by prefix and use, as the trainer builds them."""
    from llmtrain.trainer.tokens import sets

    made = sets(recipe, (recipe.run.steps or 0) * recipe.batch.global_)
    found: dict[tuple[str, str], Any] = {}
    for use, samples in (("training", made.training), ("validation", made.validation)):
        if samples is not None:
            whole: Any = samples
            for each in getattr(whole.inner, "datasets", [whole.inner]):
                found[each.dataset_path, use] = each
    return found


BLENDS: dict[str, dict[str, Any]] = {
    "one set": {"paths": [0]},
    "weights": {"paths": [0, 1], "weights": [0.3, 0.9]},
    "by size": {"paths": [0, 1], "split": [70, 30, 0]},
    "a set to validate on": {"paths": [0], "validation": {"paths": [1], "interval": 10}},
    "a split": {"paths": [0, 1], "validation": {"interval": 10, "batches": 3}},
}


@pytest.mark.parametrize("blend", BLENDS)
def test_epochs_are_those_of_the_datasets(tmp_path: Path, prefixes: list[str], blend: str) -> None:
    """Documents, tokens and rounds of every set are what megatron-core goes through."""
    data = dict(BLENDS[blend])
    data["paths"] = [prefixes[number] for number in data["paths"]]
    if "paths" in data.get("validation", {}):
        data["validation"] = data["validation"] | {"paths": [prefixes[1]]}
    given = recipe(tmp_path, **data)

    found = {(each.prefix, each.use): each for each in sets_of(given)}
    theirs = built(given)

    assert found.keys() == theirs.keys()
    for key, each in found.items():
        dataset = theirs[key]
        assert each.documents == len(dataset.indices)
        assert each.tokens == dataset._get_num_tokens_per_epoch()
        assert each.samples and each.tokens and each.epochs
        # megatron-core makes half a per cent more of a blended set, and one token more.
        assert each.samples <= dataset.num_samples <= each.samples * 1.005 + 1
        rounds = dataset._get_num_epochs(dataset._get_num_tokens_per_epoch())
        more = each.epochs * dataset.num_samples / each.samples
        assert rounds - 1 < more + 1 / each.tokens
        assert each.epochs <= rounds
    training = [each.share for each in found.values() if each.use == "training"]
    assert sum(share or 0 for share in training) == pytest.approx(1)


def warned(given: Recipe) -> list[str]:
    """What the plan says of the index."""
    return [each.message for each in make_plan(given).warnings if each.code == "index_rebuilt"]


def test_a_changed_count_seed_or_split_is_warned_of(tmp_path: Path, prefixes: list[str]) -> None:
    """Only where an index was made for something else, and only until it is made anew."""
    data: dict[str, Any] = {"paths": prefixes, "weights": [1, 3], "split": [0.9, 0.1, 0]}
    first = recipe(tmp_path, **data)
    assert warned(first) == []
    built(first)
    assert warned(first) == []

    changes = {
        r"samples 31 → 61": recipe(tmp_path, steps=60, **data),
        r"seed 1 → 2": recipe(tmp_path, seed=2, **data),
        r"split 0.9/0.1/0 → 0.8/0.2/0": recipe(tmp_path, **data | {"split": [8, 2, 0]}),
    }
    for what, changed in changes.items():
        says = warned(changed)
        assert len(says) == 2
        assert says[0].startswith(f"the index of {prefixes[0]} is built anew ({what})")
        built(changed)
        assert warned(changed) == []


def test_data_that_is_not_here_has_no_size(tmp_path: Path, prefixes: list[str]) -> None:
    """Null, not nought; a broken index is warned of."""
    there = sets_of(recipe(tmp_path, paths=[prefixes[0], "/nowhere/set"], weights=[1, 1]))
    assert [(each.share, each.samples, each.tokens is None) for each in there] == [
        (0.5, 60, False),
        (0.5, 60, True),
    ]
    assert there[1] == SetUse(
        prefix="/nowhere/set",
        use="training",
        share=0.5,
        documents=None,
        tokens=None,
        samples=60,
        epochs=None,
    )
    Path(f"{prefixes[1]}.idx").write_bytes(b"half")
    plan = make_plan(recipe(tmp_path, paths=[prefixes[1]]))

    assert [each.code for each in plan.warnings] == ["index_broken"]
    assert plan_json(plan)["data"][0]["epochs"] is None
    assert plan_json(make_plan(build(Recipe, tiny_data())))["data"] == []


def tiny_data() -> dict[str, Any]:
    """Of made-up tokens."""
    from llmtrain.config.build import plain

    found: dict[str, Any] = plain(tiny())
    return found
