"""A launch is a pure function of the recipe; its folder is all that is needed to start it."""

import io
import json
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import LaunchError
from llmtrain.config.files import read_recipe
from llmtrain.launchers.bundle import archive, as_json
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.prepare import prepare, require_startable
from llmtrain.launchers.provenance import Code, Provenance
from llmtrain.planner.plan import make_plan, plan_json

LaunchOf = Callable[..., Launch]
Write = Callable[[Launch], Path]

BIG = ("recipe=gpt3-530b", "backend.path=/opt/megatron-lm")
DEEPSPEED = ("recipe=mt-nlg-530b", "optim.zero=1")
RECIPES = [("recipe=gpt-tiny",), BIG, DEEPSPEED]


@pytest.mark.parametrize("arguments", RECIPES)
def test_the_same_recipe_gives_the_same_bytes(
    launch_of: LaunchOf,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whenever and wherever it is prepared, and whatever the environment says."""
    first = launch_of(*arguments)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMTRAIN_RUNS", str(tmp_path))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    second = launch_of(*arguments)

    assert second == first
    assert archive(second) == archive(first)
    assert str(tmp_path) not in "".join(second.files.values())


@pytest.mark.parametrize("words", [("recipe=gpt3-175b", "backend.path=/opt/m"), DEEPSPEED])
def test_checkpoints_come_as_the_plan_says_where_the_recipe_does_not(
    launch_of: LaunchOf, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The interval that loses least goes into the run's recipe and its command; its own wins."""
    launch = launch_of(*words, "checkpoint.interval=null")
    best = json.loads(launch.files["plan.json"])["goodput"]["best_interval_steps"]
    (tmp_path / "recipe.yaml").write_text(launch.files["recipe.yaml"])

    assert 1 < best == read_recipe(tmp_path / "recipe.yaml").checkpoint.interval
    assert f"--save-interval {best} " in " ".join(launch.command)
    short = launch_of(*words, "checkpoint.interval=null", "run.steps=9", "schedule.warmup=1")
    assert "--save-interval 9 " in " ".join(short.command)
    assert "--save-interval 7 " in " ".join(launch_of(*words, "checkpoint.interval=7").command)


def test_the_files_of_a_launch(launch_of: LaunchOf) -> None:
    """Those of the design, what checks a checkout, and DeepSpeed's JSON where one is read."""
    common = ["SHA256SUMS", "env.json", "job.sh", "launch.json", "plan.json"]
    common += ["provenance.json", "recipe.yaml"]

    assert list(launch_of("recipe=gpt-tiny").files) == common
    checked = sorted([*common, "checkout.json", "checkout.py"])
    assert list(launch_of(*BIG).files) == checked
    assert list(launch_of(*DEEPSPEED).files) == sorted([*common, "ds_config.json"])


@pytest.mark.parametrize("arguments", RECIPES)
def test_sha256sum_agrees(launch_of: LaunchOf, write: Write, arguments: tuple[str, ...]) -> None:
    """The sums cover every other file, and the real program finds them right, or wrong."""
    launch = launch_of(*arguments)
    folder = write(launch)
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=folder, capture_output=True, text=True)
    others = [name for name in launch.files if name != "SHA256SUMS"]

    assert (done.returncode, done.stdout) == (0, "".join(f"{name}: OK\n" for name in others))

    (folder / "job.sh").write_text("exit\n")

    assert subprocess.run(check, cwd=folder, capture_output=True).returncode == 1


@pytest.mark.parametrize("arguments", RECIPES)
def test_the_recipe_in_the_folder_is_the_recipe(
    launch_of: LaunchOf, write: Write, arguments: tuple[str, ...]
) -> None:
    """recipe.yaml alone gives the same plan and, prepared again, the same files."""
    launch = launch_of(*arguments)
    recipe = read_recipe(write(launch) / "recipe.yaml")

    assert recipe == compose(arguments)
    assert json.loads(launch.files["plan.json"]) == plan_json(make_plan(recipe))
    assert launch_of(recipe) == launch


def test_launch_json(launch_of: LaunchOf) -> None:
    """What a scheduler and ``resume`` need to know."""
    assert json.loads(launch_of("recipe=gpt-tiny", "run.name=mine").files["launch.json"]) == {
        "schema": 1,
        "name": "mine",
        "nodes": 1,
        "ranks_per_node": 2,
        "script": "job.sh",
        "command": [
            *("python", "-m", "torch.distributed.run", "--standalone"),
            *("--local-addr", "127.0.0.1", "--nproc-per-node", "2"),
            *("-m", "llmtrain.trainer", "."),
        ],
    }


def test_env_json(launch_of: LaunchOf) -> None:
    """Name, value, source and reason of every variable."""
    launch = launch_of("recipe=gpt-tiny", "+env.OMP_NUM_THREADS=2")

    assert json.loads(launch.files["env.json"]) == [
        {
            "name": "CUDA_VISIBLE_DEVICES",
            "value": "",
            "source": "cluster local-cpu (recommended); CUDA docs",
            "reason": "Hide GPUs.",
        },
        {
            "name": "GLOO_SOCKET_IFNAME",
            "value": "lo",
            "source": "cluster local-cpu (recommended); pytorch ProcessGroupGloo",
            "reason": "Keeps test traffic local; exact names only.",
        },
        {
            "name": "OMP_NUM_THREADS",
            "value": "2",
            "source": "recipe gpt-tiny (`env.OMP_NUM_THREADS`)",
            "reason": "set by the recipe",
        },
    ]


def test_provenance_json() -> None:
    """Code, packages and the image by digest."""
    recipe = compose(["recipe=gpt-tiny", "+site.container.image=/images/a@sha256:1"])
    known = Provenance(
        python="python",
        packages={"torch": "2.13.0", "deepspeed": None},
        here=Code(path=".", commit="abc", diff="-a\n+b"),
        program=Code(path="/opt/megatron", commit="def", untracked=("mine.py",)),
    )
    written = json.loads(prepare(make_plan(recipe), known).files["provenance.json"])

    assert written.pop("llmtrain")
    assert written.pop("python")
    assert written == {
        "packages": {"torch": "2.13.0", "deepspeed": None},
        "git": {"commit": "abc", "diff": "-a\n+b", "untracked": []},
        "program": {
            "path": "/opt/megatron",
            "commit": "def",
            "diff": "",
            "untracked": ["mine.py"],
        },
        "image": "/images/a@sha256:1",
    }


def test_what_must_be_given_before_the_start(launch_of: LaunchOf) -> None:
    """A launch without its program can be shown, not started; with it, it can."""
    launch = launch_of("recipe=gpt3-530b")
    with pytest.raises(LaunchError, match=r"`backend\.path` must be given"):
        require_startable(launch)

    require_startable(launch_of(*BIG))


def test_the_archive_holds_the_folder(launch_of: LaunchOf) -> None:
    """Every file once, under the run's name, without times and owners; the script can be run."""
    launch = launch_of("recipe=gpt-tiny", "run.name=mine")
    with tarfile.open(fileobj=io.BytesIO(archive(launch))) as tar:
        members = tar.getmembers()
        files = {m.name: tar.extractfile(m).read().decode() for m in members}  # type: ignore[union-attr]

    assert files == {f"mine/{name}": text for name, text in launch.files.items()}
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert {m.name: m.mode for m in members if m.mode != 0o644} == {"mine/job.sh": 0o755}


def test_a_launch_as_json_goes_through_json(launch_of: LaunchOf) -> None:
    """Everything in it is plain data, and every file's content is there."""
    launch = launch_of(*BIG)
    shown = json.loads(json.dumps(as_json(launch)))

    assert shown["files"] == launch.files
    assert (shown["name"], shown["nodes"], shown["ranks_per_node"]) == ("gpt3-530b", 280, 8)
    assert shown["command"] == list(launch.command)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("my recipe", "my-recipe"), ("../../etc", "etc"), ("$(id)\n;", "id"), ("…", "run")],
)
def test_any_name_of_a_recipe_gives_a_plain_name_of_a_folder(
    launch_of: LaunchOf, name: str, folder: str
) -> None:
    """A recipe may be called after a file with any name."""
    assert launch_of(replace(compose(["recipe=gpt-tiny"]), name=name)).name == folder
