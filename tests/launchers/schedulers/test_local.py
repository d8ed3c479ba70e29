"""job.sh, run by a real bash with a stand-in for Python that writes down what it was given."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrain.config.errors import LaunchError
from llmtrain.config.place import EnvFact
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.schedulers.local import gpus_here, require_here

LaunchOf = Callable[..., Launch]
Record = Callable[..., "Recorded"]

MEETING = {"NODE_RANK": "3", "MASTER_ADDR": "node-0"}

RECORDER = """\
#!/usr/bin/env bash
printf '%s\\0' "$PWD" "$@" >"$RECORD.arguments"
env -0 >"$RECORD.environment"
"""

HOSTILE = [
    "a b",
    " ",
    "",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "$(touch pwned)",
    "`touch pwned`",
    "a\ntouch pwned\n",
    "a\r\ntouch pwned",
    "; touch pwned #",
    "& touch pwned &",
    "| touch pwned",
    "> pwned",
    "$HOME ${HOME} $NODE_RANK",
    "$NODE_RANK",
    "!! \\ \\n \\$(touch pwned)",
    "* ? [a-z] ~ {a,b}",
    "-rf --help",
    "'\"'\"'",
    "é × 漢字 \U0001f600 \u2028",
    "\x01\x1b[31m\x7f",
]


@dataclass(frozen=True)
class Recorded:
    """What the stand-in was given."""

    folder: str
    """Its working directory."""
    arguments: list[str]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Start a launch's script in a new folder."""
    home = tmp_path_factory.mktemp("record")
    recorder = home / "python"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)

    def run(launch: Launch, above: bool = False, **environment: str) -> Recorded:
        folder = tmp_path_factory.mktemp("run")
        (folder / "job.sh").write_bytes(launch.files["job.sh"].encode())
        subprocess.run(["bash", "-n", "job.sh"], cwd=folder, check=True)
        given = {"LLMTRAIN_PYTHON": str(recorder)} | environment
        outside = {"PATH": os.environ["PATH"], "RECORD": str(home / folder.name)}
        called = f"{folder.name}/job.sh" if above else "job.sh"
        where = folder.parent if above else folder
        subprocess.run(["bash", called], cwd=where, check=True, env=outside | given)
        left = {path.name for path in folder.iterdir()}

        assert left == {"job.sh", "logs", "control", "checkpoints"}

        words = (home / f"{folder.name}.arguments").read_bytes().decode().split("\0")[:-1]
        pairs = (home / f"{folder.name}.environment").read_bytes().decode().split("\0")[:-1]
        return Recorded(words[0], words[1:], dict(pair.split("=", 1) for pair in pairs))

    return run


@pytest.fixture(scope="module")
def megatron(recipe_of: Callable[..., Recipe]) -> Recipe:
    """A recipe whose program takes paths as arguments, on two nodes."""
    data = ("data=indexed", "data.paths=[a]", "backend.path=/opt/megatron")
    return recipe_of("recipe=llama2-7b", "gpus=16", "parallel.tp=2", *data, *QUIET)


QUIET = ("batch.global=64", "run.steps=10", "schedule.warmup=1")


def hostile(recipe: Recipe, text: str) -> Recipe:
    """``text`` wherever a recipe takes free text."""
    fact = EnvFact(value=text.replace("<", ""), level="required", why=text, source=text)
    return replace(
        recipe,
        name=text,
        description=text,
        source=text,
        env={"FROM_RECIPE": text},
        data=replace(recipe.data, paths=(f"/data/{text}", text), tokenizer=f"{text}.model"),
        backend=replace(recipe.backend, path=f"/opt/{text}"),
        cluster=replace(recipe.cluster, name=text, env={"FROM_CLUSTER": fact}),
        site=replace(recipe.site, name=text, account=text, runs=text, env={"FROM_SITE": text}),
    )


def assert_it_arrives(recipe: Recipe, text: str, launch_of: LaunchOf, record: Record) -> None:
    """Nothing of ``text`` is run, and the program gets it as it is."""
    launch = launch_of(hostile(recipe, text), python=f"/opt/{text}/python")
    got = record(launch, **MEETING)

    assert got.arguments[-len(launch.program.command) :] == list(launch.program.command)
    assert got.arguments[got.arguments.index("--data-path") + 2] == text
    assert {name: got.environment[name] for name in ("FROM_RECIPE", "FROM_SITE")} == {
        "FROM_RECIPE": text,
        "FROM_SITE": text,
    }
    assert got.environment["FROM_CLUSTER"] == text.replace("<", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_ever_data(
    megatron: Recipe, text: str, launch_of: LaunchOf, record: Record
) -> None:
    """Quotes, substitutions, newlines: none is run, all arrive."""
    assert_it_arrives(megatron, text, launch_of, record)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_any_text_is_only_ever_data(
    megatron: Recipe, text: str, launch_of: LaunchOf, record: Record
) -> None:
    """The same for text that nobody thought of."""
    assert_it_arrives(megatron, text, launch_of, record)


def test_the_interpreter_of_the_preparation_is_the_default(
    launch_of: LaunchOf, record: Record, tmp_path: Path
) -> None:
    """It may lie anywhere; ``LLMTRAIN_PYTHON`` is only asked first."""
    python = tmp_path / "a $(touch pwned) 'b\"" / "python"
    python.parent.mkdir()
    python.write_text(RECORDER)
    python.chmod(0o755)
    got = record(launch_of("recipe=gpt-tiny", python=str(python)), LLMTRAIN_PYTHON="")

    assert got.arguments[:2] == ["-m", "torch.distributed.run"]


def test_one_node(launch_of: LaunchOf, record: Record) -> None:
    """torchrun finds a port itself; the trainer gets the run's folder as working directory."""
    launch = launch_of("recipe=gpt-tiny", "run.name=mine")
    got = record(launch)

    assert got.arguments == list(launch.command[1:])
    assert got.arguments == [
        *("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"),
        *("--nproc-per-node", "2", "-m", "llmtrain.trainer", "."),
    ]
    assert {
        name: got.environment[name] for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    } == {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def test_it_starts_in_its_own_folder(launch_of: LaunchOf, record: Record, tmp_path: Path) -> None:
    """From wherever it is called, also where CDPATH has folders of the same names."""
    for number in range(100):
        (tmp_path / f"run{number}").mkdir()
    launch = launch_of("recipe=gpt-tiny")
    folders = [record(launch).folder, record(launch, above=True, CDPATH=str(tmp_path)).folder]

    assert [Path(folder).parent == tmp_path for folder in folders] == [False, False]


def test_several_nodes(megatron: Recipe, launch_of: LaunchOf, record: Record) -> None:
    """Rank and address come from the environment, the port has a default."""
    launch = launch_of(megatron)
    meeting = ["--master-addr", "node-0", "--master-port", "29400", "--nproc-per-node", "8"]
    expected = ["-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", "3", *meeting]
    got = record(launch, **MEETING)

    assert got.arguments == [*expected, *launch.program.command]
    assert record(launch, **MEETING, MASTER_PORT="7777").arguments[9] == "7777"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "NODE_RANK: 0 to 1, one for each node"),
        ({"NODE_RANK": "0"}, "MASTER_ADDR: the first node, as the others reach it"),
        ({"NODE_RANK": "", "MASTER_ADDR": "a"}, "NODE_RANK: 0 to 1, one for each node"),
    ],
)
def test_several_nodes_without_their_meeting(
    megatron: Recipe, launch_of: LaunchOf, tmp_path: Path, given: dict[str, str], says: str
) -> None:
    """Nothing starts, and the variable that lacks is named."""
    script = tmp_path / "job.sh"
    script.write_text(launch_of(megatron).files["job.sh"])
    environment = {"PATH": os.environ["PATH"], "LLMTRAIN_PYTHON": "/bin/false"} | given
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)

    assert done.returncode != 0
    assert done.stderr.rstrip().endswith(says)


def test_gpus_of_this_machine(tmp_path: Path) -> None:
    """Devices that there are, or fewer that the environment shows."""
    for name in ("nvidia0", "nvidia1", "nvidia11", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()

    assert gpus_here(tmp_path, {}) == 3
    assert gpus_here(tmp_path, {"CUDA_VISIBLE_DEVICES": "0,5"}) == 2
    assert gpus_here(tmp_path, {"CUDA_VISIBLE_DEVICES": ""}) == 0


def test_what_this_machine_cannot_run(
    recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several nodes, or GPUs that are not here; the answer says what to type."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    hint = "`llmtrain run recipe={} --dry-run` shows what would be submitted; "
    hint += "`site=NAME` names the cluster to run on"
    with pytest.raises(LaunchError) as many:
        require_here(recipe_of("recipe=gpt3-530b"), nodes=280)
    with pytest.raises(LaunchError) as few:
        require_here(recipe_of("recipe=llama2-7b"), nodes=1)
    require_here(recipe_of("recipe=gpt-tiny"), nodes=1)
    shown = [(p.message, p.hint) for p in (*many.value.problems, *few.value.problems)]

    assert shown == [
        (
            "2240 GPUs on 280 nodes (dgx-a100-80g) are not on this machine",
            hint.format("gpt3-530b"),
        ),
        ("the run needs 128 GPUs; this machine has 2", hint.format("llama2-7b")),
    ]
