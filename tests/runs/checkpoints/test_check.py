"""What programs with a tracker will load, and where it is to be moved."""

import pickle
import zipfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.config.training import Optim
from llmtrain.runs.checkpoints.check import check
from llmtrain.runs.checkpoints.tracker import move
from llmtrain.runs.events import json_lines

TRACKER = "latest_checkpointed_iteration.txt"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Megatron-LM on two tensor parallel ranks."""
    return compose(["recipe=llama2-7b", "gpus=8", "parallel.tp=2", "parallel.pp=1"])


def write_rank(path: Path, state: object) -> None:
    """A .pt file without tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/data.pkl", pickle.dumps(state))


def save(folder: Path, step: int) -> Path:
    """A checkpoint of two ranks in Megatron-LM's ``torch`` format."""
    arguments = Namespace(tensor_model_parallel_size=2, pipeline_model_parallel_size=1)
    path = folder / f"iter_{step:07d}"
    for rank in range(2):
        state = {"iteration": step, "args": arguments}
        write_rank(path / f"mp_rank_{rank:02d}" / "model_optim_rng.pt", state)
    (folder / TRACKER).write_text(str(step))
    return path


def test_the_tracker_decides(recipe: Recipe, tmp_path: Path) -> None:
    """Not the newest folder: a user may have set it back."""
    save(tmp_path, 20)
    save(tmp_path, 10)

    found = check(tmp_path, recipe)

    assert found.stored is not None and found.stored.step == 10
    assert (found.tracker, found.skipped, found.verdict.outcome) == (None, None, "as_is")


def test_an_incomplete_one(recipe: Recipe, tmp_path: Path) -> None:
    """The tracker is moved to the newest whole one, and alone; the event keeps what it said."""
    for step in (10, 20, 30):
        newest = save(tmp_path, step)
    (newest / "mp_rank_01" / "model_optim_rng.pt").unlink()
    before = sorted(tmp_path.rglob("*"))

    found = check(tmp_path, recipe)

    assert found.stored is not None and found.stored.step == 20
    assert found.skipped is not None
    assert found.skipped.damage == "mp_rank_01/model_optim_rng.pt is missing"
    assert found.tracker is not None and (found.tracker.was, found.tracker.now) == ("30", "20")
    move(found.tracker, tmp_path)
    (event,) = json_lines(tmp_path / "events.jsonl")
    (tmp_path / "events.jsonl").unlink()
    assert (event["event"], event["was"], event["now"]) == ("tracker_moved", "30", "20")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / TRACKER).read_text() == "20"
    assert check(tmp_path, recipe).tracker is None


@pytest.mark.parametrize("says", ["40", "nonsense", None])
def test_a_wrong_tracker(recipe: Recipe, tmp_path: Path, says: str | None) -> None:
    """It names what is not there, or is lost: the program would begin from random weights."""
    save(tmp_path, 10)
    (tmp_path / TRACKER).unlink() if says is None else (tmp_path / TRACKER).write_text(says)

    found = check(tmp_path, recipe)

    assert found.tracker is not None and (found.tracker.was, found.tracker.now) == (says, "10")
    assert TRACKER in found.tracker.why


def test_nothing_is_there(recipe: Recipe, tmp_path: Path) -> None:
    """Then the run begins; a tracker without any checkpoint is refused."""
    assert check(tmp_path / "none", recipe).verdict.outcome == "none"
    assert check(tmp_path, recipe).verdict.loads

    (tmp_path / TRACKER).write_text("10")
    assert check(tmp_path, recipe).verdict.outcome == "no"


def test_deepspeeds_tracker(recipe: Recipe, tmp_path: Path) -> None:
    """DeepSpeed's ``latest`` holds a tag, and is written before every rank is done."""
    other = replace(recipe, backend=replace(recipe.backend, name="megatron-deepspeed"))
    whole = replace(other, optim=Optim())
    for step in (1, 2):
        state = {"dp_world_size": 4, "mp_world_size": 2, "global_steps": step}
        parallel = {"checkpoint_parallel_dimensions": {"tp_degree": 2, "pp_degree": 1}}
        for rank in range(3 - step):
            name = f"global_step{step}/mp_rank_{rank:02d}_model_states.pt"
            write_rank(tmp_path / name, state | parallel)
    (tmp_path / "latest").write_text("global_step2")

    found = check(tmp_path, whole)

    assert found.tracker is not None and found.tracker.now == "global_step1"
    assert found.skipped is not None
    assert found.skipped.damage == "mp_rank_01_model_states.pt is missing"
