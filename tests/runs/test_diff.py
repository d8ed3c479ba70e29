"""Every recipe key has a label, and two recipes are told apart by it."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import cast

import pytest

from llmtrain.config.build import build, key_of, keys, members_of, plain
from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.runs.diff import RULES, differences, meaning_of, meanings


def value_keys(cls: type = Recipe, prefix: str = "") -> Iterator[str]:
    """Every key that holds a value: all but the groups; a group that may be null is one too."""
    for field in fields(cls):
        kinds = members_of(field.type)
        groups = [kind for kind in kinds if is_dataclass(kind)]
        if len(kinds) > 1 or not groups:
            yield prefix + key_of(field.name)
        for group in groups:
            yield from value_keys(cast(type, group), f"{prefix}{key_of(field.name)}.")


def test_every_key_has_a_label() -> None:
    """A new key fails here until runs/data/recipe_keys.yaml says what it decides."""
    assert [key for key in value_keys() if key not in meanings()] == []


def test_no_key_is_passed_over() -> None:
    """What has no label of its own is a group of keys that have."""
    known = set(value_keys())
    groups = [key for key in keys(Recipe) if key not in known]

    assert [group for group in groups if not any(k.startswith(f"{group}.") for k in known)] == []


def test_every_label_says_why_by_a_rule_that_there_is() -> None:
    """And no key stands under both labels, where the second would win unseen."""
    assert [key for key, meaning in meanings().items() if not meaning.why] == []
    assert {meaning.unless for meaning in meanings().values()} - {""} == set(RULES)


def test_a_recipe_is_its_own_equal() -> None:
    """Whatever lists and groups it holds, and when it has been written and read."""
    recipe = compose(["recipe=deepseek-v3"])

    assert differences(recipe, recipe) == []
    assert differences(recipe, build(Recipe, plain(recipe))) == []


CHANGES = {
    "gpus=4 parallel.tp=4": {"gpus": "map", "parallel.tp": "map"},
    "run.seed=7 run.name=other": {"run.seed": "experiment", "run.name": "map"},
    "recompute.kind=full": {"recompute.kind": "map"},
    "+batch.ramp={start: 2, step: 2, samples: 100}": {
        "batch.ramp.start": "experiment",
        "batch.ramp.step": "experiment",
        "batch.ramp.samples": "experiment",
    },
    "+env={NCCL_DEBUG: INFO}": {"env.NCCL_DEBUG": "map"},
    "model.vocab=300": {"model.vocab": "experiment"},
    "batch.micro=4": {"batch.micro": "map"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_labels_of_changes(change: str) -> None:
    """A change has the label of its keys; what changes the experiment comes first."""
    words = change.split(" ") if "{" not in change else [change]
    base = ["recipe=gpt-tiny", "batch.micro=1"]
    found = differences(compose(base), compose([*base, *words]))

    assert {each.key: each.label for each in found} == CHANGES[change]
    assert [each.label for each in found] == sorted(each.label for each in found)


def test_more_tensor_parallel_ranks_may_pad_the_vocabulary_otherwise() -> None:
    """To a multiple of 128 tp: the key only maps, unless the softmax gets more tokens by it."""
    base = [
        "recipe=gpt-tiny",
        "batch.micro=1",
        "model.vocab=300",
        "model.vocab_multiple=128",
        "gpus=4",
    ]
    one, two, four = (compose([*base, f"parallel.tp={tp}"]) for tp in (1, 2, 4))

    assert [(d.key, d.label) for d in differences(two, four)] == [("parallel.tp", "map")]
    assert [(d.key, d.label, d.why) for d in differences(one, two)] == [
        ("parallel.tp", "experiment", "pads the vocabulary to 512 instead of 384 tokens")
    ]


def test_the_micro_batch_of_a_mixture_of_experts() -> None:
    """Its balancing loss is a mean over a micro-batch."""
    pair = [compose(["recipe=mixtral-8x7b", f"batch.micro={size}"]) for size in (1, 2)]

    assert [(d.key, d.label) for d in differences(*pair)] == [("batch.micro", "experiment")]


def test_an_entry_of_a_cluster_has_the_label_of_the_whole() -> None:
    """The longest key that the table knows decides."""
    assert meaning_of("cluster.env.NCCL_DEBUG") is meanings()["cluster.env"]
    with pytest.raises(KeyError):
        meaning_of("clusters")
