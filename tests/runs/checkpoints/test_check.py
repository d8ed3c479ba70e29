"""What programs with a tracker will load, and where it is to be moved."""

import pickle
import zipfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Literal

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


def save_tag(folder: Path, step: int) -> Path:
    """A checkpoint of DeepSpeed with ZeRO-1, on two tensor parallel ranks and four replicas."""
    path = folder / f"global_step{step}"
    parallel = {"checkpoint_parallel_dimensions": {"tp_degree": 2, "pp_degree": 1}}
    engine = {"ds_config": {"zero_optimization": {"stage": 1}}}
    state = {"dp_world_size": 4, "mp_world_size": 2, "global_steps": step} | parallel | engine
    for rank in range(2):
        write_rank(path / f"mp_rank_{rank:02d}_model_states.pt", state)
        for replica in range(4):
            write_rank(path / f"zero_pp_rank_{replica}_mp_rank_{rank:02d}_optim_states.pt", {})
    (folder / "latest").write_text(path.name)
    return path


def with_deepspeed(recipe: Recipe, *, universal: bool = False) -> Recipe:
    """The same on Megatron-DeepSpeed with ZeRO-1."""
    return replace(
        recipe,
        backend=replace(recipe.backend, name="megatron-deepspeed"),
        optim=Optim(zero=1),
        checkpoint=replace(recipe.checkpoint, universal=universal),
    )


def test_what_is_not_universal_yet(recipe: Recipe, tmp_path: Path) -> None:
    """With ``checkpoint.universal=true`` it is converted first; then it loads as it is."""
    path = save_tag(tmp_path, 5)
    wanted = with_deepspeed(recipe, universal=True)

    found = check(tmp_path, wanted)

    assert (found.verdict.outcome, found.stored and found.stored.path) == ("convert", path)
    (command,) = found.verdict.commands
    assert command.endswith(f"--input_folder {path} --output_folder {path}_universal")
    for part in ("fp32.pt", "exp_avg.pt", "exp_avg_sq.pt"):
        write_rank(tmp_path / "global_step5_universal" / "zero" / "weight" / part, {})
    for file in path.glob("mp_rank_*"):
        (tmp_path / "global_step5_universal" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "latest_universal").write_text("global_step5_universal")
    assert check(tmp_path, wanted).verdict.outcome == "as_is"


@pytest.mark.parametrize(("named", "done"), [("global_step5_universal", True), (None, False)])
def test_a_conversion_that_was_broken_off_is_made_again(
    recipe: Recipe, tmp_path: Path, named: str | None, done: bool
) -> None:
    """Its folder is there at once; the converter names it in ``latest_universal`` at its end."""
    (save_tag(tmp_path, 5).with_name("global_step5_universal") / "zero").mkdir(parents=True)
    if named:
        (tmp_path / "latest_universal").write_text(named)
    wanted = with_deepspeed(recipe, universal=False)
    found = check(tmp_path, replace(wanted, gpus=2 * recipe.gpus)).verdict

    assert found.outcome == "convert"
    assert ("converted already" in found.says, bool(found.commands)) == (done, not done)


@pytest.mark.parametrize("name", ["megatron-core", "megatron-core+deepspeed"])
def test_another_programs_checkpoint(
    recipe: Recipe,
    tmp_path: Path,
    name: Literal["megatron-core", "megatron-core+deepspeed"],
) -> None:
    """A program that would not look for it would begin again, and that is said."""
    save(tmp_path, 10)

    found = check(tmp_path, replace(recipe, backend=replace(recipe.backend, name=name)))

    assert found.verdict.outcome == "no"
    assert found.verdict.says == f"will not load: {name} does not read the format megatron"


def test_another_name(recipe: Recipe, tmp_path: Path) -> None:
    """A format that is read, under a name that is not looked for."""
    save(tmp_path, 10).rename(tmp_path / "iter_10")
    (tmp_path / TRACKER).unlink()

    says = check(tmp_path, recipe).verdict.says

    assert says == "will not load: megatron-lm does not look for a checkpoint of this name"


def test_damage_without_a_tracker(recipe: Recipe, tmp_path: Path) -> None:
    """The only checkpoint is damaged and nothing names it: no reason to begin again unasked."""
    (save(tmp_path / "m", 10) / "mp_rank_01" / "model_optim_rng.pt").unlink()
    (tmp_path / "m" / TRACKER).unlink()
    (save_tag(tmp_path / "d", 5) / "mp_rank_01_model_states.pt").unlink()
    (tmp_path / "d" / "latest").unlink()

    for found, tracker, name in (
        (check(tmp_path / "m", recipe), TRACKER, "iter_0000010 is not whole: mp_rank_01/"),
        (check(tmp_path / "d", with_deepspeed(recipe)), "latest", "global_step5 is not whole: mp"),
    ):
        assert found.verdict.outcome == "no"
        assert f"{tracker} is missing, and {name}" in found.verdict.says


def test_a_folder_that_cannot_be_read(recipe: Recipe, tmp_path: Path) -> None:
    """A link to what is not mounted, one to itself, a file: none of them is an empty folder."""
    (tmp_path / "lost").symlink_to("/not/mounted")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")

    for name, says in (
        ("lost", "lost is a link to /not/mounted, which is not there"),
        ("loop", "loop cannot be read: Too many levels of symbolic links"),
        ("file", "file cannot be read: Not a directory"),
    ):
        for wanted in (recipe, replace(recipe, backend=replace(recipe.backend, name="deepspeed"))):
            found = check(tmp_path / name, wanted).verdict
            assert (found.outcome, found.says) == ("no", f"will not load: {says}")
