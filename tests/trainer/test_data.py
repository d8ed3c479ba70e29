"""Which samples a step takes, and what they hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from llmtrain.config.errors import RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.conftest import Lab

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(Transformer Engine|Apex|full scope).*:UserWarning"
)


@pytest.mark.parametrize("dp", [1, 2, 4])
def test_a_step_takes_the_same_samples_on_any_number_of_replicas(dp: int) -> None:
    """Over all replicas and micro-batches each sample of the step comes once, whatever dp."""
    from llmtrain.trainer.batches import Order

    order, step = Order(micro=2, dp=dp), range(48, 64)
    taken = [
        number
        for microbatch in range(order.microbatches(step))
        for replica in range(dp)
        for number in order.numbers(step, microbatch, replica)
    ]

    assert taken == list(step)


def test_made_up_samples_follow_from_seed_and_number() -> None:
    """Labels are the tokens one further on, and only seed and number decide them."""
    from llmtrain.trainer.tokens import MadeUp

    sample, again, other = (MadeUp(vocab=50, seq=8, seed=seed)[7] for seed in (1, 1, 2))

    assert sample["tokens"][1:].tolist() == sample["labels"][:-1].tolist()
    assert sample["tokens"].equal(again["tokens"])
    assert not sample["tokens"].equal(other["tokens"])
    assert int(sample["labels"].max()) < 50


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    """The message has the token and the size of the vocabulary."""
    from llmtrain.trainer.tokens import Checked, MadeUp

    samples = Checked(MadeUp(vocab=50, seq=60, seed=1), vocab=40)

    with pytest.raises(RecipeError, match=r"token 4\d in the data; `model.vocab` is 40"):
        samples[0]


def test_paths_without_weights_go_by_size(tmp_path: Path) -> None:
    """Several sets are blended by the bytes they hold; one alone needs no weight."""
    from llmtrain.trainer.tokens import blend

    for name, size in (("a", 10), ("b", 30)):
        (tmp_path / f"{name}.bin").write_bytes(bytes(size))
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]

    assert blend(paths, None) == (paths, [10.0, 30.0])
    assert blend(paths[:1], None) == (paths[:1], None)
    assert blend(paths, (1, 2)) == (paths, [1, 2])


def test_real_text_is_learned_from_either_kind(lab: Lab) -> None:
    """The library prepared on first use trains, and its files train alike as given paths."""
    cache = str(lab.root / "cache")
    first = lab.trial(2, data={"kind": "stdlib", "cache": cache}).train()
    prefix = str(next((lab.root / "cache").glob("*.idx")).with_suffix(""))
    data = {"kind": "indexed", "paths": [prefix], "cache": cache}

    assert lab.trial(2, data=data).train().losses() == first.losses()


def test_the_order_of_a_blend_follows_from_the_recipe_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the layout, cold index or warm, sample n is the same; a seed's order is its own."""
    from llmtrain.trainer.tokens import sets
    from tests.trainer.conftest import tiny

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: False)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    paths = two_sets(tmp_path)

    def order(cache: str, gpus: int = 1, seed: int = 1) -> list[list[int]]:
        data = {
            "kind": "indexed",
            "paths": paths,
            "weights": [3, 1],
            "cache": str(tmp_path / cache),
        }
        recipe = tiny(20, gpus=gpus, data=data, run={"steps": 20, "seed": seed})
        return [sets(recipe, 80).training[n]["tokens"].tolist() for n in range(80)]

    first = order("a")

    assert order("a") == order("b", gpus=4) == first
    assert order("a", seed=2) != first
    assert sum(tokens[0] >= 100 for tokens in first) == 20


def two_sets(folder: Path) -> list[str]:
    """In set s a document holds nothing but the token 100 x s + document, so samples tell them."""
    import numpy as np
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    for number in range(2):
        builder = IndexedDatasetBuilder(str(folder / f"{number}.bin"), dtype=np.uint8)
        for document in range(50):
            builder.add_item(torch.full((65,), 100 * number + document))
            builder.end_document()
        builder.finalize(str(folder / f"{number}.idx"))
    return [str(folder / str(number)) for number in range(2)]


def test_the_stream_goes_on_where_it_stopped_with_another_dp(lab: Lab, tmp_path: Path) -> None:
    """A run of two replicas that goes on as one sees the samples of a run that never stopped."""
    from llmtrain.config.change import changed
    from llmtrain.config.files import dump_recipe

    (tmp_path / "sets").mkdir()
    data = {"kind": "indexed", "paths": two_sets(tmp_path / "sets"), "weights": [3, 1]}
    data["cache"] = str(tmp_path / "sets")
    whole = lab.trial(4, data=data).train()
    broken = lab.trial(4, data=data, gpus=2)
    broken.ask("stop")
    broken.train()
    alone = changed(broken.recipe, {"gpus": 1})
    (broken.folder / "recipe.yaml").write_text(dump_recipe(alone))

    replace(broken, recipe=alone).train()

    assert broken.events()[-1] == ("finished", 4)
    assert broken.losses() == pytest.approx(whole.losses(), abs=1e-4)
