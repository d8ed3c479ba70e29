"""What ``why`` says to do: an edit only where the plan says that it helps."""

import dataclasses
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.files import dump_recipe
from llmtrain.planner.plan import make_plan
from llmtrain.runs.why.advice import advise
from llmtrain.runs.why.cause import Cause, cause_of_files


@pytest.fixture
def out_of_memory(tmp_path: Path) -> Cause:
    """Of a GPU, in the forward pass."""
    log = tmp_path / "out.log"
    log.write_text(
        'Traceback (most recent call last):\n  File "a.py", line 1, in forward\n'
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB. GPU 2 has 1 MiB\n"
    )
    return cause_of_files([log])


def test_the_edit_lowers_the_planned_peak(out_of_memory: Cause, tmp_path: Path) -> None:
    """Composed again with the edit, the recipe has the peak that was promised."""
    words = ["recipe=llama2-7b", "optim.zero=1"]
    (tmp_path / "recipe.yaml").write_text(dump_recipe(compose(words)))
    advice = advise(out_of_memory, tmp_path)

    assert advice.title == "out of memory (forward pass)"
    assert advice.edit is not None
    before, after = (
        make_plan(compose([*words, *more])).peak_memory_bytes
        for more in ((), advice.edit.overrides)
    )
    assert after < 0.98 * before
    assert f"{after / 2**30:.1f} instead of {before / 2**30:.1f} GiB" in advice.edit.why


def test_no_edit_without_a_recipe(out_of_memory: Cause, tmp_path: Path) -> None:
    """Nor of one that cannot be read."""
    (tmp_path / "recipe.yaml").write_text("not: a recipe\n")

    assert advise(out_of_memory).edit is None
    assert advise(out_of_memory, tmp_path).edit is None


def test_only_a_node_at_fault_is_left_out(out_of_memory: Cause) -> None:
    """Memory that runs out does so on every node."""
    assert out_of_memory.gpu == 2
    assert advise(dataclasses.replace(out_of_memory, host="n1")).exclude is None
