"""``llmtrain run --dry-run`` and ``sbatch``: what they show is what a run writes."""

import io
import json
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Cli, the_run

BIG = ("recipe=gpt3-530b", "backend.path=/opt/megatron lm")

DEEPSPEED = ("recipe=mt-nlg-530b", "optim.zero=1", "backend.path=/opt/megatron-deepspeed")

LEFT_OUT = (
    "warning: NCCL_SOCKET_IFNAME is left out: only the site knows "
    "<management interface, e.g. =bond0 or =enp226s0> (`site.env.NCCL_SOCKET_IFNAME`)\n"
)


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


def test_the_batch_script_as_a_piece(cli: Cli) -> None:
    """That of ``llmtrain sbatch``, which without a Slurm site is a generic one."""
    done = cli("run", *BIG, "--dry-run", "--print", "sbatch")

    assert done == cli("sbatch", *BIG)
    assert done.out.startswith("#!/usr/bin/env bash\n#SBATCH --job-name=gpt3-530b\n")
    assert done.err.startswith("warning: site none has no Slurm: this script is a generic one; ")


@pytest.mark.parametrize(
    "words", [("sbatch",), ("run", "--dry-run"), ("run", "--dry-run", "--print", "args")]
)
def test_a_home_folder_is_no_place_for_runs(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """On a Slurm site it is warned of before anything is submitted; another place is taken."""
    monkeypatch.setenv("HOME", str(Path.cwd()))
    says = f"the run's folder is in your home ({Path('outputs').resolve()})"

    assert says in cli(*words, *BIG, "site.scheduler=slurm").err
    assert says not in cli(*words, *BIG, "site.scheduler=slurm", "site.runs=/scratch").err
    assert says not in cli(*words, *BIG).err


def test_a_variable_that_the_program_refuses(cli: Cli) -> None:
    """It is warned of before the queue, as `env lint` would; what is right is not."""
    says = "warning: CUDA_DEVICE_MAX_CONNECTIONS is not 1 with tp 8: Megatron-LM asserts it"
    words = ("run", *BIG, "--dry-run", "--print", "env")

    assert says in cli(*words, "env.CUDA_DEVICE_MAX_CONNECTIONS=8").err
    assert says not in cli(*words, "env.CUDA_DEVICE_MAX_CONNECTIONS=1").err


def test_the_batch_script_as_json(cli: Cli) -> None:
    """For programs: the same text, and mistakes as elsewhere."""
    shown = json.loads(cli("sbatch", *BIG, "--json").out)
    wrong = cli("sbatch", *BIG, "gpus=2000", "--json")

    assert shown == {"name": "job.sbatch", "script": cli("sbatch", *BIG).out}
    assert json.loads(wrong.out)["errors"][0]["code"] == "gpus_not_multiple"


def test_a_user_without_a_home(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that no list of users has, as in containers: there is nothing to warn of."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)

    assert cli("sbatch", *BIG, "site.scheduler=slurm").status == 0


def test_no_batch_script_of_a_plan_that_does_not_fit(cli: Cli) -> None:
    """Stdout stays empty, which sbatch reads; the plan is shown beside the errors all the same."""
    done = cli("sbatch", *BIG, "cluster=dgx-a100-40g")

    assert (done.status, done.out) == (4, "")
    assert "layout      8-way TP × 35-way PP" in done.err
    assert "error: stage 0 needs" in done.err


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


def test_text_that_looks_like_style(cli: Cli) -> None:
    """What is in brackets stands as it is."""
    done = cli("run", "recipe=gpt-tiny", "--dry-run", "+env.A='[/red] [bold]b :x:'")

    assert done.status == 0
    assert any("[/red] [bold]b :x:" in line for line in done.out.splitlines() if "recipe" in line)


@pytest.mark.usefixtures("stand_in")
def test_what_is_shown_is_what_is_written(cli: Cli) -> None:
    """The bundle holds, to the byte, what the folder of a run then holds; twice the same."""
    arguments = ("recipe=gpt-tiny", "run.name=mine", "run.steps=3")
    # By the interpreter of this process, whose name stands in the script.
    words = (sys.executable, COMMAND, "run", *arguments, "--dry-run", "--print", "bundle")
    shown, again = (subprocess.run(words, capture_output=True, check=True).stdout for _ in range(2))
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
