"""Stands in for ``python``: writes what the programs' converters do, but for the tensors."""

import pickle
import shutil
import sys
import zipfile
from argparse import Namespace
from itertools import pairwise
from pathlib import Path


def write(path: Path, state: object) -> None:
    """A .pt file without tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/data.pkl", pickle.dumps(state))


def megatron(folder: Path, tp: int, pp: int, **more: object) -> None:
    """Step 10 in Megatron-LM's ``torch`` format, a file a rank, and the tracker that names it."""
    degrees = {"tensor_model_parallel_size": tp, "pipeline_model_parallel_size": pp}
    arguments = Namespace(**degrees, **more)
    for rank in range(tp):
        for stage in range(pp):
            name = f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if pp > 1 else "")
            path = folder / "iter_0000010" / name / "model_optim_rng.pt"
            write(path, {"iteration": 10, "args": arguments})
            if not more.get("no_save_optim"):
                write(path.with_name("distrib_optim.pt"), {})
    (folder / "latest_checkpointed_iteration.txt").write_text("10")


def deepspeed(folder: Path, dp: int) -> None:
    """Step 10 of DeepSpeed's ZeRO-1 over ``dp`` replicas, and the tracker that names it."""
    state = {"dp_world_size": dp, "mp_world_size": 1, "global_steps": 10}
    engine = {"ds_config": {"zero_optimization": {"stage": 1}}}
    write(folder / "global_step10" / "mp_rank_00_model_states.pt", state | engine)
    for rank in range(dp):
        write(folder / "global_step10" / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt", {})
    (folder / "latest").write_text("global_step10")


def universal(source: Path, target: Path) -> None:
    """The same by parameter, with a tracker of its own."""
    for part in ("fp32", "exp_avg", "exp_avg_sq"):
        write(target / "zero" / "weight" / f"{part}.pt", {})
    for path in source.glob("mp_rank_*"):
        shutil.copy2(path, target)
    target.with_name("latest_universal").write_text(target.name)


def main(words: list[str]) -> None:
    """As ``python PROGRAM --NAME VALUE…``."""
    said = {name: value for name, value in pairwise(words) if name[:2] == "--"}
    if words[0] == "/opt/Megatron LM/tools/checkpoint/convert.py":
        tp, pp = (said[f"--target-{each}-parallel-size"] for each in ("tensor", "pipeline"))
        more = {"data_parallel_size": 1, "use_distributed_optimizer": True, "no_save_optim": True}
        megatron(Path(said["--save-dir"]), int(tp), int(pp), **more)
    elif words[:2] == ["-m", "deepspeed.checkpoint.ds_to_universal"]:
        universal(Path(said["--input_folder"]), Path(said["--output_folder"]))
    else:
        raise SystemExit(f"no converter: {words}")


if __name__ == "__main__":
    main(sys.argv[1:])
