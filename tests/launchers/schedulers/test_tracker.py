"""Before each start the job looks whether what the tracker names is whole, and moves it if not."""

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.launchers.launch import Launch
from llmtrain.launchers.shell import package_text

LaunchOf = Callable[..., Launch]
MEGATRON, LATEST = "latest_checkpointed_iteration.txt", "latest"

MEGATRON_LM = ("recipe=llama2-7b", "gpus=16", "parallel.tp=2", "parallel.pp=2")
DEEPSPEED = (
    "recipe=gpt3-5b",
    "backend=megatron-deepspeed",
    "gpus=16",
    "parallel.tp=2",
    "parallel.pp=2",
    "optim.zero=1",
)


def write(*paths: Path) -> None:
    """Files that end as a .pt file does."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("state/data.pkl", b"0" * 100)


def legacy(folder: Path, step: int) -> Path:
    """Megatron-LM's ``torch`` format, tp 2 and pp 2."""
    path = folder / f"iter_{step:07d}"
    names = [f"mp_rank_{tp:02d}_{pp:03d}" for tp in range(2) for pp in range(2)]
    write(*(path / name / "model_optim_rng.pt" for name in names))
    return path


def sharded(folder: Path, step: int) -> Path:
    """Megatron-LM's ``torch_dist``."""
    path = folder / f"iter_{step:07d}"
    write(path / "common.pt")
    for name in ("__0_0.distcp", ".metadata", "metadata.json"):
        (path / name).write_text("some")
    return path


def deepspeed(folder: Path, step: int) -> Path:
    """DeepSpeed's, ZeRO-1 over four replicas of four ranks."""
    path = folder / f"global_step{step}"
    write(*(path / f"mp_rank_{rank:02d}_model_states.pt" for rank in range(4)))
    names = [f"zero_pp_rank_{dp}_mp_rank_{rank:02d}" for dp in range(4) for rank in range(4)]
    write(*(path / f"{name}_optim_states.pt" for name in names))
    return path


def settings(launch: Launch) -> str:
    """What the job sets for it."""
    names = ("tracker=", "patterns=", "counts=")
    lines = launch.files["job.sbatch"].splitlines()
    return "\n".join(line for line in lines if line.startswith(names))


@pytest.fixture
def look(launch_of: LaunchOf, tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Do what the job does; the events that it writes."""

    def run(*arguments: str) -> list[dict[str, str]]:
        launch = launch_of(*arguments, "site.scheduler=slurm")
        script = [package_text("folder.sh"), settings(launch), package_text("tracker.sh")]
        text = "\n".join(["set -euo pipefail", *script, "SLURM_JOB_ID=7", "check_tracker"])
        subprocess.run(["bash", "-c", text], cwd=tmp_path, check=True)
        path = tmp_path / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return run


def cut(path: Path) -> None:
    """The end of a file is not there."""
    path.write_bytes(path.read_bytes()[:-25])


HARMS: tuple[tuple[tuple[str, ...], str, Callable[[Path, int], Path], str, bool], ...] = (
    (MEGATRON_LM, MEGATRON, legacy, "mp_rank_01_001/model_optim_rng.pt", False),
    (MEGATRON_LM, MEGATRON, legacy, "mp_rank_00_001/model_optim_rng.pt", True),
    (MEGATRON_LM, MEGATRON, sharded, "metadata.json", False),
    (MEGATRON_LM, MEGATRON, sharded, "common.pt", True),
    (DEEPSPEED, LATEST, deepspeed, "zero_pp_rank_3_mp_rank_02_optim_states.pt", False),
    (DEEPSPEED, LATEST, deepspeed, "mp_rank_02_model_states.pt", True),
)


@pytest.mark.parametrize(("arguments", "tracker", "save", "name", "is_cut"), HARMS)
def test_it_is_moved_to_the_newest_whole_one(
    look: Callable[..., list[dict[str, str]]],
    tmp_path: Path,
    arguments: tuple[str, ...],
    tracker: str,
    save: Callable[[Path, int], Path],
    name: str,
    is_cut: bool,
) -> None:
    """A file is missing or cut: nothing but the tracker changes; what it said is in an event."""
    folder = tmp_path / "checkpoints"
    paths = [save(folder, step) for step in (9, 10, 20)]
    words = ["9", "10", "20"] if tracker == MEGATRON else [path.name for path in paths]
    (folder / tracker).write_text(words[2])
    assert look(*arguments) == []
    assert (folder / tracker).read_text() == words[2]

    cut(paths[2] / name) if is_cut else (paths[2] / name).unlink()
    before = sorted(tmp_path.rglob("*"))
    (event,) = look(*arguments)

    assert (folder / tracker).read_text() == words[1]
    found = {key: event[key] for key in ("event", "file", "was", "now")}
    assert found == {
        "event": "tracker_moved",
        "file": tracker,
        "was": words[2],
        "now": words[1],
    }
    assert sorted(set(tmp_path.rglob("*")) - {tmp_path / "events.jsonl"}) == before


def test_a_lost_tracker_is_written_again(
    look: Callable[..., list[dict[str, str]]], tmp_path: Path
) -> None:
    """Without it the program would begin from random weights; without checkpoints it may."""
    (tmp_path / "checkpoints").mkdir()
    assert look(*MEGATRON_LM) == []
    assert not (tmp_path / "checkpoints" / MEGATRON).exists()

    sharded(tmp_path / "checkpoints", 30)

    assert [event["now"] for event in look(*MEGATRON_LM)] == ["30"]
    assert (tmp_path / "checkpoints" / MEGATRON).read_text() == "30"


def test_where_none_is_whole_nothing_is_moved(
    look: Callable[..., list[dict[str, str]]], tmp_path: Path
) -> None:
    """The program says what it makes of it."""
    path = legacy(tmp_path / "checkpoints", 10)
    cut(path / "mp_rank_00_000" / "model_optim_rng.pt")
    (tmp_path / "checkpoints" / MEGATRON).write_text("10")

    assert look(*MEGATRON_LM) == []
    assert (tmp_path / "checkpoints" / MEGATRON).read_text() == "10"


def test_the_reference_trainer_needs_none(launch_of: LaunchOf) -> None:
    """Its folders have the name of a whole one only when they are."""
    launch = launch_of("recipe=gpt-tiny", "site.scheduler=slurm")

    assert "tracker" not in launch.files["job.sbatch"]
