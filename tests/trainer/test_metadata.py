"""What ``resume`` reads of real checkpoints, whole and damaged, and what it makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmtrain.config.recipe import Recipe
from llmtrain.runs.checkpoints.check import check
from llmtrain.runs.checkpoints.folder import read_stored
from llmtrain.runs.checkpoints.pickles import Damage, read_torch
from llmtrain.runs.checkpoints.stored import Stored
from llmtrain.runs.checkpoints.verdict import verdict
from tests.trainer.conftest import ENVIRONMENT, tiny

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab, Trial

TP2_PP2: dict[str, Any] = {"gpus": 4, "parallel": {"tp": 2, "pp": 2}}
WRITER = Path(__file__).with_name("deepspeed_writer.py")


def read(path: Path) -> Stored:
    """What lies there."""
    stored = read_stored(path)
    assert stored is not None
    return stored


@pytest.fixture(scope="module")
def trial(module_lab: Lab) -> Trial:
    """A run of the reference trainer with two checkpoints, over four ranks."""
    zero = {"lr": 1e-2, "zero": 1}
    return module_lab.trial(2, optim=zero, checkpoint={"interval": 1}, **TP2_PP2).train()


@pytest.fixture(scope="module")
def newest(trial: Trial) -> Path:
    """Its newest one."""
    return trial.folder / "checkpoints" / "step-00000002"


def test_the_reference_trainers(trial: Trial, newest: Path) -> None:
    """Layout, sizes and numbers are those of the recipe; another layout reads it, as is."""
    stored = read(newest)

    assert (stored.format, stored.step, stored.damage) == ("torch_dist", 2, None)
    assert {"tp": 2, "pp": 2, "dp": 1, "zero": 1}.items() <= stored.layout.items()
    assert stored.sizes == {"layers": 4, "hidden": 32, "vocab": 300}
    assert (stored.dtype, stored.optimizer) == ("float32", "fully_reshardable")
    assert verdict(stored, trial.recipe).outcome == "as_is"
    assert verdict(stored, tiny(optim={"zero": 1})).says == "loads resharded: tp 2 → 1, pp 2 → 1"
    assert verdict(stored, tiny()).says.endswith("`optim.zero` = 1, not 0")


def cut_index(path: Path) -> str:
    """Half of ``.metadata``."""
    file = path / ".metadata"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return ".metadata cannot be read: it is cut or changed"


def change_index(path: Path) -> str:
    """A pickle that is whole, and lacks what an index says."""
    file = path / ".metadata"
    file.write_bytes(file.read_bytes().replace(b"length", b"lenght"))
    return "its metadata is not a checkpoint's (TypeError: int() argument"


def cut_tensors(path: Path) -> str:
    """One byte less of one rank's file."""
    file = path / "__1_0.distcp"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    return f"__1_0.distcp is cut: it has {size - 1} bytes of {size}"


def lose_tensors(path: Path) -> str:
    """One rank's file is gone."""
    (path / "__3_0.distcp").unlink()
    return "__3_0.distcp is missing"


def cut_common(path: Path) -> str:
    """The state that is not tensors is no zip file any more."""
    file = path / "common.pt"
    file.write_bytes(file.read_bytes()[:-30])
    return "common.pt cannot be read: it is cut or changed (no whole zip file)"


def change_common(path: Path) -> str:
    """One bit of its pickle."""
    file = path / "common.pt"
    content = bytearray(file.read_bytes())
    content[content.index(b"zero")] ^= 1
    file.write_bytes(content)
    return "common.pt cannot be read: it is cut or changed (no whole zip file)"


def lose_config(path: Path) -> str:
    """What is written last."""
    (path / "metadata.json").unlink()
    return "metadata.json, which is written last, is missing"


def lose_sums(path: Path) -> str:
    """Without them the trainer does not take it."""
    (path / "SHA256SUMS").unlink()
    return "SHA256SUMS, which is written last, is missing"


HARMS = (
    cut_index,
    change_index,
    cut_tensors,
    lose_tensors,
    cut_common,
    change_common,
    lose_config,
    lose_sums,
)


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_one_is_passed_over(
    trial: Trial, newest: Path, tmp_path: Path, harm: Callable[[Path], str]
) -> None:
    """What is wrong is said, with the file's name, and the one before is taken."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(newest.parent, folder)
    wrong = harm(folder / newest.name)

    found = check(folder, trial.recipe)

    assert found.skipped is not None and str(found.skipped.damage).startswith(wrong)
    assert found.stored is not None and found.stored.path.name == "step-00000001"
    assert found.verdict.outcome == "as_is"


def test_none_that_is_whole(trial: Trial, newest: Path, tmp_path: Path) -> None:
    """With nothing left the run is not begun again by itself."""
    wrong = lose_tensors(shutil.copytree(newest, tmp_path / "checkpoints" / newest.name))

    found = check(tmp_path / "checkpoints", trial.recipe)

    assert found.verdict.outcome == "no"
    assert wrong in found.verdict.says


@pytest.fixture(scope="module")
def deepspeed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DeepSpeed's own checkpoints: ZeRO 0, 1 and 3 over two replicas, two stages, universal."""
    folder = tmp_path_factory.mktemp("deepspeed")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    run(*torchrun, str(WRITER), str(folder), "0", "1", "3", "pipe")
    source = folder / "1" / "global_step1"
    convert = ("-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", str(source))
    run(*convert, "--output_folder", f"{source}_universal")
    return folder


def run(*words: str) -> None:
    """A Python program that must end well."""
    environment = os.environ | ENVIRONMENT | {"DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def deepspeed_recipe(dp: int, zero: int, universal: bool = False, pp: int = 1) -> Recipe:
    """For Megatron-DeepSpeed's program."""
    recipe = tiny(
        gpus=dp * pp,
        parallel={"pp": pp},
        optim={"zero": zero},
        checkpoint={"universal": universal},
    )
    return replace(recipe, backend=replace(recipe.backend, name="megatron-deepspeed"))


@pytest.mark.parametrize(
    ("kind", "zero", "files"), [("0", 0, 1), ("1", 1, 3), ("3", 3, 4)], ids=lambda value: str(value)
)
def test_deepspeeds(deepspeed: Path, kind: str, zero: int, files: int) -> None:
    """Stage of ZeRO, replicas and step are known, and every file is looked for."""
    stored = read(deepspeed / kind / "global_step1")

    assert (stored.format, stored.step, stored.damage) == ("deepspeed", 1, None)
    assert {"dp": 2, "tp": 1, "pp": 1, "zero": zero}.items() <= stored.layout.items()
    assert (stored.files, stored.dtype) == (files, "float32")
    assert verdict(stored, deepspeed_recipe(2, zero)).outcome == "as_is"
    fewer = verdict(stored, deepspeed_recipe(1, zero))
    if kind == "3":
        assert "deepspeed.checkpoint.ds_to_universal --input_folder /" in fewer.commands[0]
    assert fewer.outcome == ("convert" if zero else "resharded")
    assert verdict(stored, deepspeed_recipe(2, 1 if zero != 1 else 3)).outcome == "no"


def test_deepspeeds_pipeline(deepspeed: Path) -> None:
    """Two stages and a file a layer."""
    stored = read(deepspeed / "pipe" / "global_step0")

    assert {"pp": 2, "dp": 1, "zero": 0}.items() <= stored.layout.items()
    assert (stored.files, stored.damage) == (6, None)
    assert verdict(stored, deepspeed_recipe(1, 0, pp=2)).outcome == "as_is"
    assert "only a checkpoint of ZeRO" in verdict(stored, deepspeed_recipe(1, 0)).says


def test_a_universal_one(deepspeed: Path) -> None:
    """Any number of replicas reads it, at ZeRO 1 and 2."""
    path = deepspeed / "1" / "global_step1_universal"
    stored = read(path)

    assert (stored.format, stored.damage) == ("universal", None)
    assert verdict(stored, deepspeed_recipe(4, 2, True)).outcome == "resharded"
    assert verdict(stored, deepspeed_recipe(4, 3, True)).outcome == "no"
    found = check(path.parent, deepspeed_recipe(4, 1, True))
    assert found.stored == stored
    plain = check(path.parent, deepspeed_recipe(4, 1)).verdict
    assert plain.says.startswith("needs `checkpoint.universal=true` (dp 2 → 4)")
    moments = next(path.glob("zero/*/exp_avg.pt"))
    moments.write_bytes(moments.read_bytes()[:-20])
    assert moments.parent.name in str(read(path).damage)


def test_a_lost_part(deepspeed: Path) -> None:
    """A replica's part, or a stage's state, that is not there."""
    (deepspeed / "3" / "global_step1" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    (deepspeed / "pipe" / "global_step0" / "mp_rank_01_model_states.pt").unlink()

    lost = read(deepspeed / "3" / "global_step1")
    assert lost.damage == "zero_pp_rank_1_mp_rank_00_optim_states.pt is missing"
    assert verdict(lost, deepspeed_recipe(2, 3)).says == f"will not load: {lost.damage}"
    stage = read(deepspeed / "pipe" / "global_step0")
    assert stage.damage == "mp_rank_01_model_states.pt is missing"


def test_the_step_folder_may_hold_deepspeeds_files(deepspeed: Path, tmp_path: Path) -> None:
    """As they are, or in the folder of a tag."""
    flat = shutil.copytree(deepspeed / "1" / "global_step1", tmp_path / "step-00000001")
    deep = shutil.copytree(deepspeed / "1", tmp_path / "step-00000002")
    for each in (flat, deep):
        assert read(each).damage == "SHA256SUMS, which is written last, is missing"
        (each / "SHA256SUMS").write_text("")

    assert [read(each).format for each in (flat, deep)] == ["deepspeed", "deepspeed"]
    assert [read(each).whole for each in (flat, deep)] == [True, True]


def megatron_ranks(folder: Path, tp: int, pp: int) -> Iterator[Path]:
    """Megatron-LM's ``torch`` format as it was seen to write it (core_v0.16.1)."""
    import torch

    arguments = Namespace(
        tensor_model_parallel_size=tp,
        pipeline_model_parallel_size=pp,
        data_parallel_size=1,
        num_layers=4,
        hidden_size=32,
        num_attention_heads=4,
        padded_vocab_size=300,
        params_dtype=torch.bfloat16,
        use_distributed_optimizer=False,
    )
    for tensor in range(tp):
        for stage in range(pp):
            name = f"mp_rank_{tensor:02d}" + (f"_{stage:03d}" if pp > 1 else "")
            path = folder / name / "model_optim_rng.pt"
            path.parent.mkdir(parents=True)
            state = {"args": arguments, "iteration": 7, "checkpoint_version": 3.0}
            model = {"decoder.layers.0.mlp.linear_fc1.weight": torch.zeros(8, 8)}
            torch.save({**state, "model": model}, path)
            yield path


def test_megatrons_own_format(tmp_path: Path) -> None:
    """A file a rank: the same layout reads it, another needs Megatron's converter."""
    *_, last = megatron_ranks(tmp_path / "iter_0000007", 2, 2)
    stored = read(tmp_path / "iter_0000007")
    backend = {"name": "megatron-lm"}

    assert (stored.format, stored.step, stored.files) == ("megatron", 7, 4)
    assert (stored.dtype, stored.sizes["vocab"], stored.damage) == ("bfloat16", 300, None)
    assert verdict(stored, tiny(backend=backend, **TP2_PP2)).outcome == "as_is"
    other = verdict(stored, tiny(backend=backend, gpus=2, parallel={"tp": 2}))
    assert other.outcome == "convert"
    assert "tools/checkpoint/convert.py --model-type GPT" in other.commands[0]
    assert "--target-tensor-parallel-size 2 --target-pipeline-parallel-size 1" in other.commands[0]
    last.unlink()
    assert read(tmp_path / "iter_0000007").damage == (
        "mp_rank_01_001/model_optim_rng.pt is missing"
    )


def test_a_tensor_must_have_its_bytes(tmp_path: Path) -> None:
    """As PyTorch writes it, and with a record that is too short."""
    import torch

    path = tmp_path / "tensor.pt"
    torch.save({"weight": torch.zeros(3, 4, dtype=torch.bfloat16)}, path)
    tensor = read_torch(path)["weight"]
    assert (tensor.shape, tensor.storage.kind, tensor.storage.count) == (
        (3, 4),
        "BFloat16Storage",
        12,
    )

    short = tmp_path / "short.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(short, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:10] if "/data/" in name else old.read(name))
    with pytest.raises(Damage, match=r"short\.pt: tensor 0 has 10 bytes, not 24"):
        read_torch(short)


def test_the_trainers_deepspeed_checkpoints(
    module_lab: Lab, shapes: dict[str, dict[str, Any]]
) -> None:
    """Layout and stage of ZeRO are read from DeepSpeed's files, of a pipeline and experts too."""
    for zero, gpus, parallel in (
        (3, 2, {}),
        (1, 4, {"tp": 2, "pp": 2}),
        (1, 2, {"ep": 2}),
    ):
        experts = "ep" in parallel
        same: dict[str, Any] = {
            "model": shapes["experts" if experts else "llama"],
            "backend": {"name": "megatron-core+deepspeed"},
            "optim": {"lr": 1e-2, "zero": zero},
        }
        trial = module_lab.trial(1, **same, gpus=gpus, parallel=parallel).train()
        found = read(trial.folder / "checkpoints" / "step-00000001")

        assert (found.format, found.step, found.damage) == ("deepspeed", 1, None)
        assert verdict(found, trial.recipe).outcome == "as_is"
        if experts:
            alone = verdict(found, tiny(**same, gpus=2))
            assert alone.outcome == "resharded"
            assert "ep 2 → 1" in alone.says
