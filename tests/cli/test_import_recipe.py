"""``llmtrain import``, and the verbs that take a launch script in a recipe's place."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Cli

JOB = """#!/bin/bash
#SBATCH --nodes=4
#SBATCH --gpus-per-node=8
export NCCL_IB_TIMEOUT=100
MODEL=(
    --num-layers 32 --hidden-size 4096   # as published
    --num-attention-heads 32 --seq-length 4096 --vocab-size 32000
)
TRAIN="--micro-batch-size 1 --global-batch-size 128 --lr 3e-4 --train-iters 1000 --bf16"
srun python /opt/megatron/pretrain_gpt.py "${MODEL[@]}" $TRAIN \\
    --tensor-model-parallel-size 2 --no-such-flag 7 --log-interval 10
"""

NEMO = """\
trainer: {num_nodes: 2, devices: 8, max_steps: 100, precision: bf16}
model:
  num_layers: 12
  hidden_size: 768
  num_attention_heads: 12
  encoder_seq_length: 2048
  micro_batch_size: 4
  global_batch_size: 256
  tensor_model_parallel_size: 1
  optim: {name: distributed_fused_adam, lr: 6.0e-4, betas: [0.9, 0.95]}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A launch script."""
    file = tmp_path / "job.sbatch"
    file.write_text(JOB)
    return file


def test_a_script_becomes_a_recipe(cli: Cli, job: Path) -> None:
    """The recipe on stdout, the rest on stderr: what was assumed, what has no place."""
    done = cli("import", str(job), "cluster=dgx-a100-80g")
    recipe = yaml.safe_load(done.out)

    assert done.status == 0
    assert (recipe["gpus"], recipe["parallel"]) == (32, {"tp": 2})
    assert recipe["backend"]["path"] == "/opt/megatron"
    assert recipe["env"] == {"NCCL_IB_TIMEOUT": "100"}
    assert "not placed: --no-such-flag 7 (core_v0.19.0 has no such flag)" in done.err
    assert "left to the launch: --log-interval" in done.err


def test_the_same_as_json(cli: Cli, job: Path) -> None:
    """For programs."""
    shown = json.loads(cli("import", str(job), "--json").out)

    assert [each["flag"] for each in shown["not_placed"]] == ["--no-such-flag"]
    assert shown["problems"] == []
    assert yaml.safe_load(shown["recipe"])["model"]["layers"] == 32


def test_plan_and_lint_take_the_script_itself(cli: Cli, job: Path) -> None:
    """``recipe=FILE`` with further overrides; the linter reads what the script exports."""
    done = cli("plan", f"recipe={job}", "cluster=dgx-h100", "gpus=64", "--json")
    linted = cli("env", "lint", str(job))

    assert (done.status, json.loads(done.out)["gpus"]) == (0, 64)
    assert (linted.status, "NCCL_IB_TIMEOUT=100 is out of range" in linted.out) == (1, True)


def test_a_resolved_nemo_yaml(cli: Cli, tmp_path: Path) -> None:
    """By the keys of NeMo, and by those of a path that is no recipe of ours."""
    file = tmp_path / "resolved.yaml"
    file.write_text(NEMO)
    recipe = yaml.safe_load(cli("import", str(file)).out)

    assert (recipe["gpus"], recipe["model"]["layers"]) == (16, 12)
    assert recipe["optim"]["zero"] == 1
    assert cli("plan", f"recipe={file}", "--json").status == 0


def test_an_invalid_launch_is_shown_and_told(cli: Cli, tmp_path: Path) -> None:
    """The status is that of an invalid recipe; the recipe is there to be mended."""
    file = tmp_path / "job.sh"
    file.write_text(
        JOB.replace("--num-layers 32", "--num-layers 30 --pipeline-model-parallel-size 4")
    )
    done = cli("import", str(file))

    assert (done.status, "layers: 30" in done.out) == (3, True)
    assert "30 layers is not a multiple of pp = 4" in done.err


@pytest.mark.parametrize("text", ["echo hello\n", "python train.py --x 1\n"])
def test_a_file_that_launches_nothing_known(cli: Cli, tmp_path: Path, text: str) -> None:
    """A usage mistake, answered."""
    file = tmp_path / "job.sh"
    file.write_text(text)
    done = cli("import", str(file))

    assert (done.status, done.out) == (2, "")
    assert "starts no pretrain_gpt.py" in done.err


def test_the_backends_of_a_recipe(cli: Cli) -> None:
    """Same, approximated, impossible, and what would make it possible."""
    done = cli("plan", "--backends", "recipe=gpt3-530b")
    shown = json.loads(cli("plan", "--backends", "recipe=gpt3-530b", "--json").out)
    verdicts = {(each["backend"], each["version"]): each for each in shown["backends"]}

    assert done.status == 0
    assert "optim.zero=1 parallel.vpp=1" in done.out
    assert verdicts["megatron-lm", "v0.12.0rc3"]["verdict"] == "same"
    assert verdicts["megatron-deepspeed", "4efb479d"]["mended_by"] == [
        "optim.zero=1",
        "parallel.vpp=1",
    ]


def test_an_approximation_needs_a_word(cli: Cli) -> None:
    """Exit 4 without it, and the hint says which."""
    asked = ("plan", "recipe=llama2-7b", "model.activation=geglu")
    done = cli(*asked)

    assert done.status == 4 and "backend.approximate=true" in done.err
    assert cli(*asked, "backend.approximate=true").status == 0


ONE_LINE = "torchrun --nproc-per-node 8 pretrain_gpt.py --num-layers 4 --hidden-size 256 "
ONE_LINE += "--num-attention-heads 4 --seq-length 128 --vocab-size 1000 --micro-batch-size 1 "
ONE_LINE += "--global-batch-size 8 --train-iters 10"


def test_a_launcher_that_is_told_of_no_nodes(cli: Cli, tmp_path: Path) -> None:
    """It starts its own; where the nodes are told but not known, they are not guessed."""
    file = tmp_path / "one.sh"
    unknown = ONE_LINE.replace(" --nproc", " --nnodes $N --nproc")
    listed = ONE_LINE.replace("torchrun --nproc-per-node", "deepspeed --hostfile=hosts --num_gpus")
    for line, gpus in ((ONE_LINE, 8), (unknown, 1), (listed, 1)):
        file.write_text(line)
        done = cli("import", str(file), "cluster=dgx-a100-80g")

        assert yaml.safe_load(done.out)["gpus"] == gpus
        assert ("gpus is not in the file" in done.err) == (gpus == 1)


@pytest.mark.parametrize(
    ("old", "new", "status", "says"),
    [
        ("iters 10", "iters 5e3", 0, "--train-iters 5e3 (the program's parser wants int here)"),
        ("layers 4", "layers four", 3, "`model.layers` is needed"),
    ],
)
def test_a_value_that_the_program_would_refuse(
    cli: Cli, tmp_path: Path, old: str, new: str, status: int, says: str
) -> None:
    """It is said; nothing is made of it."""
    file = tmp_path / "one.sh"
    file.write_text(ONE_LINE.replace(old, new))
    done = cli("import", str(file), "cluster=dgx-a100-80g")

    assert (done.status, says in done.err) == (status, True), done.err


def test_an_engine_that_others_fill_in(cli: Cli, tmp_path: Path) -> None:
    """DeepSpeed's JSON for another program may say "auto": then its own defaults hold."""
    auto = {"enabled": True, "loss_scale": "auto", "initial_scale_power": "auto"}
    engine = {"fp16": auto | {"loss_scale_window": "auto"}, "zero_optimization": {"stage": "auto"}}
    (tmp_path / "ds.json").write_text(json.dumps(engine))
    file = tmp_path / "one.sh"
    file.write_text(f"{ONE_LINE} --fp16 --deepspeed --deepspeed_config ds.json")

    recipe = yaml.safe_load(cli("import", str(file), "cluster=dgx-a100-80g").out)

    assert recipe["precision"]["initial_loss_scale"] == 65536
    assert "zero" not in recipe["optim"]
