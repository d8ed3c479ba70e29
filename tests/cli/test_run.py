"""``llmtrain run``: what a dry run shows is what a run writes; a run here, to each of its ends."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
COMMAND = str(Path(sys.executable).with_name("llmtrain"))

BIG = ("recipe=gpt3-530b", "backend.path=/opt/megatron lm")
DEEPSPEED = ("recipe=mt-nlg-530b", "optim.zero=1", "backend.path=/opt/megatron-deepspeed")
LEFT_OUT = (
    "warning: NCCL_SOCKET_IFNAME is left out: only the site knows "
    "<management interface, e.g. =bond0 or =enp226s0> (`site.env.NCCL_SOCKET_IFNAME`)\n"
)


def the_run() -> Path:
    """The only run there is."""
    (folder,) = Path("outputs").iterdir()
    return folder


def piece(cli: Cli, what: str, *arguments: str) -> str:
    """What ``--print`` writes, which is nothing else."""
    done = cli("run", *arguments, "--dry-run", "--print", what)
    assert done.status == 0, done.err
    out: str = done.out
    return out


def test_a_dry_run_shows_it_all(cli: Cli) -> None:
    """Layout, placement, stages, environment with its sources, the script, and what lacks."""
    done = cli("run", "recipe=gpt3-530b", "--dry-run")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]

    for line in (
        "layout 8-way TP × 35-way PP · sequence parallel · dp 8",
        "on 2240 × A100-SXM4-80GB, 280 nodes of dgx-a100-80g",
        "stage 3 layers a stage in 3 chunks",
        "batch 2240 sequences = 280 micro-batches × 1 × dp 8",
        "parameters 529,600,819,200",
        "tp 8 1 inside a node (ranks 0, 1, 2, …)",
        "dp 8 8 over 8 nodes (ranks 0, 8, 16, …)",
        "pp 35 64 over 35 nodes (ranks 0, 64, 128, …)",
        "# gpt3-530b: 280 × 8 ranks, by llmtrain",
        "export CUDA_DEVICE_MAX_CONNECTIONS=1",
        "before this can start, `backend.path` must be given",
    ):
        assert line in lines
    stages = [line for line in lines if re.match(r"(0|1-33|34) 3 [\d,]+ ", line)]
    assert len(stages) == 3
    assert any("--pipeline-model-parallel-size 35" in line for line in lines)
    assert (done.status, done.err) == (0, LEFT_OUT)


def test_a_dry_run_as_json(cli: Cli) -> None:
    """The plan and the launch with all its files, in one document."""
    shown = json.loads(cli("run", *BIG, "--dry-run", "--json").out)
    files = shown["launch"]["files"]

    assert shown["plan"] == json.loads(files["plan.json"])
    assert shown["plan"] == json.loads(cli("plan", *BIG, "--json").out)
    assert json.loads(files["launch.json"])["command"] == shown["launch"]["command"]


def test_the_plan_as_a_piece(cli: Cli) -> None:
    """As ``plan --json`` writes it."""
    assert piece(cli, "plan", *BIG) == cli("plan", *BIG, "--json").out


def test_the_arguments_as_a_piece(cli: Cli) -> None:
    """One line, which a shell reads back."""
    out = piece(cli, "args", *BIG)
    words = shlex.split(out)

    assert out.count("\n") == 1
    assert words[words.index("--pipeline-model-parallel-size") + 1] == "35"
    assert shlex.join(words) + "\n" == out


def test_the_command_as_a_piece(cli: Cli) -> None:
    """One line that ends in the arguments, and what the shell fills in for it to fill in."""
    out = piece(cli, "command", *BIG)
    front, program, rest = out.partition("'/opt/megatron lm/pretrain_gpt.py' ")

    assert front == (
        'python -m torch.distributed.run --nnodes 280 --node-rank "$NODE_RANK" '
        '--master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT" --nproc-per-node 8 '
    )
    assert program
    assert rest == piece(cli, "args", *BIG)


def test_the_environment_as_a_piece(cli: Cli) -> None:
    """Lines that a shell can read."""
    out = piece(cli, "env", "recipe=gpt-tiny", "+env.A='a b'", "+env.B=$HOME")
    script = f"set -a\n{out}env -0 | grep -z '^[AB]='\n"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert out == (
        "A='a b'\nB='$HOME'\nCUDA_VISIBLE_DEVICES=''\nGLOO_SOCKET_IFNAME=lo\nOMP_NUM_THREADS=1\n"
    )
    assert sorted(done.stdout.split("\0")[:-1]) == ["A=a b", "B=$HOME"]


def test_deepspeed_as_a_piece(cli: Cli) -> None:
    """The JSON that the launch holds; where there is none, it is said."""
    assert json.loads(piece(cli, "deepspeed", *DEEPSPEED))["zero_optimization"]["stage"] == 1

    done = cli("run", *BIG, "--dry-run", "--print", "deepspeed")

    assert (done.status, done.out) == (5, "")
    assert done.err == "error: this backend has no DeepSpeed configuration\n"


def test_no_batch_script_without_slurm(cli: Cli) -> None:
    """The answer says what there is instead."""
    done = cli("run", *BIG, "--dry-run", "--print", "sbatch")

    assert (done.status, done.out) == (5, "")
    assert done.err == (
        "error: this launch has no batch script: its site has no Slurm\n"
        "  hint: `llmtrain sbatch` writes a generic one; `--print command` shows what is started\n"
    )


def test_a_batch_script_without_a_site(cli: Cli) -> None:
    """The generic one on stdout; on stderr what no site and no checkout means for it."""
    done = cli("sbatch", "recipe=gpt3-530b")

    assert (done.status, done.out.splitlines()[:3]) == (
        0,
        ["#!/usr/bin/env bash", "#SBATCH --job-name=gpt3-530b", "#SBATCH --nodes=280"],
    )
    assert "missing=(backend.path)" in done.out.splitlines()
    for says in (
        "site none has no Slurm: this script is a generic one; "
        "`llmtrain site detect` writes a site",
        "`backend.path` must be given: as it is, the job ends at once",
    ):
        assert f"warning: {says}\n" in done.err


@pytest.mark.parametrize("words", [("sbatch",), ("run", "--dry-run", "--print", "bundle")])
def test_no_script_and_no_archive_with_a_secret(cli: Cli, words: tuple[str, ...]) -> None:
    """They go into files."""
    done = cli(*words, *BIG, f"description='hf_{'a' * 34}'")

    assert (done.status, done.out) == (5, "")
    assert "holds what looks like a Hugging Face token" in done.err


def test_a_plan_that_cannot_be_launched(cli: Cli) -> None:
    """It is shown; a piece of the launch that is not there is not."""
    cannot = ("recipe=gpt3-530b", "backend=megatron-deepspeed")
    shown = cli("run", *cannot, "--dry-run")
    as_json = cli("run", *cannot, "--dry-run", "--json")
    raw = cli("run", *cannot, "--dry-run", "--print", "args")
    errors = [line for line in shown.err.splitlines() if line.startswith("error: ")]

    assert "8-way TP × 35-way PP" in shown.out
    assert errors[0].startswith("error: `parallel.vpp` = 3 cannot be expressed by ")
    assert json.loads(as_json.out)["launch"] is None
    assert (raw.status, raw.out) == (4, "")
    assert json.loads(piece_of_a_bad_plan(cli, *cannot))["errors"]


def piece_of_a_bad_plan(cli: Cli, *arguments: str) -> str:
    """The plan alone, as JSON."""
    out: str = cli("run", *arguments, "--dry-run", "--print", "plan").out
    return out


@pytest.mark.parametrize("arguments", [(), BIG[1:]])
def test_a_run_that_is_not_for_this_machine(cli: Cli, arguments: tuple[str, ...]) -> None:
    """It says what is missing here and what to type, and leaves nothing behind."""
    done = cli("run", "recipe=gpt3-530b", *arguments)

    assert (done.status, done.out) == (5, "")
    assert done.err == (
        "error: 2240 GPUs on 280 nodes (dgx-a100-80g) are not on this machine\n"
        "  hint: `llmtrain run recipe=gpt3-530b --dry-run` shows what would be submitted; "
        "`site=NAME` names the cluster to run on\n"
    )
    assert list(Path().iterdir()) == []


def test_gpus_that_are_not_here(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node's worth of them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    done = cli("run", "recipe=gpt-tiny", "cluster=local-gpu")

    assert done.err.startswith("error: the run needs 2 GPUs; this machine has 1\n")
    assert (done.status, list(Path().iterdir())) == (5, [])


def test_text_that_looks_like_style(cli: Cli) -> None:
    """What is in brackets stands as it is."""
    done = cli("run", "recipe=gpt-tiny", "--dry-run", "+env.A='[/red] [bold]b :x:'")

    assert done.status == 0
    assert any("[/red] [bold]b :x:" in line for line in done.out.splitlines() if "recipe" in line)


@pytest.mark.usefixtures("stand_in")
def test_what_is_shown_is_what_is_written(cli: Cli) -> None:
    """The bundle holds, to the byte, what the folder of a run then holds; twice the same."""
    arguments = ("recipe=gpt-tiny", "run.name=mine", "run.steps=3")
    shown = subprocess.run(
        [COMMAND, "run", *arguments, "--dry-run", "--print", "bundle"],
        capture_output=True,
        check=True,
    ).stdout
    again = subprocess.run(
        [COMMAND, "run", *arguments, "--dry-run", "--print", "bundle"],
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(shown)) as tar:
        bundle = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    done = cli("run", *arguments)
    folder = the_run()

    assert done.status == 0, done.err
    assert shown == again
    assert bundle == {f"mine/{name.name}": name.read_bytes() for name in prepared(folder)}
    assert str(Path.cwd()) not in b"".join(bundle.values()).decode()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def prepared(folder: Path) -> list[Path]:
    """What was prepared, and not written by the run."""
    later = ("events.jsonl", "metrics.jsonl")
    return [path for path in folder.iterdir() if path.is_file() and path.name not in later]


@pytest.mark.usefixtures("stand_in")
def test_a_run_to_its_end(cli: Cli) -> None:
    """Progress and what to type next on stderr, nothing on stdout."""
    done = cli("run", "recipe=gpt-tiny", "run.name=mine", "run.steps=3")
    name = the_run().name
    lines = done.err.splitlines()

    assert (done.status, done.out) == (0, "")
    assert lines[0] == f"{name} in {Path.cwd() / 'outputs'}"
    assert "loss (nats per token)" in lines
    assert lines[-4:] == [
        "finished at step 3 of 3, loss 2.500",
        f"run:    {Path.cwd() / 'outputs' / name}",
        f"status: llmtrain status {name}",
        f"logs:   llmtrain logs {name}",
    ]
    assert (the_run() / "logs/launcher.log").read_text() == (
        "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node 2 "
        "-m llmtrain.trainer .\n"
    )


@pytest.mark.usefixtures("stand_in")
def test_a_run_as_json(cli: Cli) -> None:
    """Its last state, which ``status --json`` has too, beside what the plan says."""
    done = cli("run", "recipe=gpt-tiny", "run.steps=3", "--json")
    state = json.loads(done.out)

    assert (state["status"], state["step"], state["checkpoint"]) == ("finished", 3, 3)
    assert json.loads(cli("status", "latest", "--json").out).items() >= state.items()


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 6, and why."""
    monkeypatch.setenv("FAIL", "[rank0]: out of memory")
    done = cli("run", "recipe=gpt-tiny", "run.name=mine", "--json")
    name = the_run().name
    (error,) = json.loads(done.out)["errors"]

    assert (done.status, error["code"]) == (6, "run_failed")
    assert error["message"] == f"{name}: [rank0]: out of memory"
    assert f"error: {name}: [rank0]: out of memory" in done.err.splitlines()
    assert json.loads(cli("status", name, "--json").out)["error"] == "[rank0]: out of memory"
    assert "[rank0]: out of memory" in cli("status", name).out


@pytest.mark.usefixtures("stand_in")
def test_where_runs_go(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the site's place, from where the path is what to type; LLMTRAIN_RUNS wins."""
    site = f"+site.runs='{tmp_path}/of the site'"
    first = cli("run", "recipe=gpt-tiny", "run.steps=3", site)
    (folder,) = (tmp_path / "of the site").iterdir()

    assert f"status: llmtrain status '{folder}'" in first.err.splitlines()
    assert cli("status", str(folder)).status == 0

    monkeypatch.setenv("LLMTRAIN_RUNS", str(tmp_path / "mine"))
    second = cli("run", "recipe=gpt-tiny", "run.steps=3", site)
    (other,) = (tmp_path / "mine").iterdir()

    assert f"status: llmtrain status {other.name}" in second.err.splitlines()
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("stand_in")
def test_a_run_without_a_place(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started that could not be written down."""
    Path("file").touch()
    monkeypatch.setenv("LLMTRAIN_RUNS", "file")
    done = cli("run", "recipe=gpt-tiny")

    assert (done.status, done.out) == (5, "")
    assert done.err.startswith("error: the run's folder cannot be written: ")
    assert done.err.endswith("  hint: `LLMTRAIN_RUNS` or `site.runs` says where runs go\n")


@pytest.fixture
def started(stand_in: Path) -> Callable[..., Any]:
    """``llmtrain`` as a program, with a run that goes on until it is stopped."""

    def start(*arguments: str) -> Any:
        slow = os.environ | {"STEPS": "1000", "PAUSE": "0.05"}
        process = subprocess.Popen(
            [COMMAND, *arguments], env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 30
        while not any(Path().glob("outputs/*/metrics.jsonl")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
        return process

    return start


def test_ctrl_c(started: Callable[..., Any], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint, a stop, status 130; ``resume`` goes on from there, once."""
    process = started("run", "recipe=gpt-tiny", "run.name=mine", "run.steps=1000")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    name = the_run().name
    state = json.loads(cli("status", name, "--json").out)

    assert (process.returncode, out) == (130, b"")
    assert "stopping after a checkpoint; Ctrl-C again kills the run" in err.decode().splitlines()
    assert err.decode().splitlines()[-2:] == [
        f"error: interrupted; the newest checkpoint is step {state['step']}",
        f"  hint: go on with: llmtrain resume {name}",
    ]
    assert (state["status"], state["checkpoint"]) == ("stopped", state["step"])

    monkeypatch.setenv("STEPS", str(state["step"] + 2))
    done = cli("resume", name, "--json")

    assert done.status == 0, done.err
    assert json.loads(done.out)["step"] == state["step"] + 2
    assert cli("resume", name).status == 5


def test_ctrl_c_as_json(started: Callable[..., Any]) -> None:
    """The same as data."""
    process = started("run", "recipe=gpt-tiny", "run.steps=1000", "--json")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    (error,) = json.loads(out)["errors"]

    assert (process.returncode, error["code"]) == (130, "interrupted")


def test_cancel_from_another_terminal(started: Callable[..., Any], cli: Cli) -> None:
    """Both commands learn how it ended; a run that has ended cannot be cancelled."""
    process = started("run", "recipe=gpt-tiny", "run.steps=1000")
    running = json.loads(cli("status", "--json").out)["runs"]
    twice = cli("resume", "latest")
    done = cli("cancel", "latest", "--json")
    process.communicate(timeout=30)
    again = cli("cancel", "latest")

    assert [state["status"] for state in running] == ["running"]
    assert (twice.status, twice.err.splitlines()[0]) == (
        5,
        f"error: {the_run().name} is running",
    )
    assert (done.status, json.loads(done.out)["status"]) == (0, "cancelled")
    assert process.returncode == 0
    assert (again.status, again.err) == (
        6,
        f"error: {the_run().name} does not run here; it is cancelled\n",
    )


def test_following_the_logs(started: Callable[..., Any], cli: Cli) -> None:
    """Lines as they come, until Ctrl-C, which is the follower's alone."""
    process = started("run", "recipe=gpt-tiny", "run.steps=1000")
    follower = subprocess.Popen(
        [COMMAND, "logs", "latest", "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert follower.stdout is not None
    first = [follower.stdout.readline().decode() for _ in range(2)]
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=30)

    assert sorted(line.partition(":")[0] for line in first) == ["launcher", "rank-0"]
    assert (follower.returncode, err) == (130, b"")
    assert process.poll() is None

    cli("cancel", "latest")
    process.communicate(timeout=30)
