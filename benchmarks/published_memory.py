"""Memory against published measurements, and verdicts against layouts that ran out of memory.

``python -m benchmarks.published_memory [--points FILE] [--oom FILE] [--json]``

Nothing here was fitted on a family that it scores. What a row leaves open is filled by what its
source's program does, and said in ``FILLED``.
"""

import argparse
import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import yaml

from llmtrain.config.build import build
from llmtrain.config.errors import LlmtrainError
from llmtrain.config.layout import chunk_layers
from llmtrain.config.recipe import Recipe
from llmtrain.planner.memory import Peak, peak_memory
from llmtrain.planner.programs import Program, constant, program

DATA = Path(__file__).parent / "data"
GPUS = Path(__file__).parent.parent / "recipes" / "gpu"

Row = dict[str, str]

GPU_FILES = {
    "a100-40g-sxm": "a100-sxm4-40gb",
    "a100-80g-sxm": "a100-sxm4-80gb",
    "h100-80g-sxm": "h100-sxm5-80gb",
    "h200": "h200-sxm-141gb",
    "gb200": "gb200",
}

PROGRAMS = {
    "bloom_176b": "megatron-deepspeed",
    "kempnerforge_h200": "fsdp",
    "nanotron_playbook": "nanotron",
}
"""Whose habits a family has; the others are Megatron's."""

COUNTS = {"bloom_176b": "total", "kempnerforge_h200": "reserved"}
"""What a family measured: all that nvidia-smi shows, or reserved; the others allocated."""

FILLED = {
    "bloom_176b": "ALiBi, a norm behind the embedding, dropout 0.1, fused softmax; gradients summed"
    " in 16 bits unless the notes say fp32",
    "kempnerforge_h200": "feed-forward from LLaMA's rule with factor 1.3; bf16 weights, gradients"
    " and fp32 moments without master weights",
    "nanotron_playbook": "vocabulary 131072, tied (3.57 B parameters); fp32 sums",
    "dgxc_mem": "distributed optimizer, gradients in bf16 (5.5 and 4.4 bytes a parameter are"
    " steady in the notes), squared ReLU in the second row",
    "megatron_ci_release": "dp from the steady memory in the notes",
    "alephalpha_layouts": "ZeRO-1 of the Scaling library, gradients in bf16",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One row that has a published peak."""

    id: str
    family: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Relative; below 0: predicted too little."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One row that is known to have run or to have run out of memory."""

    id: str
    family: str
    ran: bool
    fits: bool
    share: float
    """What is needed, as a share of what there is."""


def rows(file: Path) -> list[Row]:
    """A CSV file with the columns of ``published_points.csv``."""
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def recipe_of(row: Row) -> Recipe:
    """The row as a recipe.

    Raises:
        ValueError: if the row does not say enough.
        LlmtrainError: if it says something that is no recipe.
    """
    for name in ("layers", "hidden", "heads", "tp", "pp", "micro_batch", "seq"):
        if not row[name]:
            raise ValueError(f"{name} was not published")
    recipe = build(Recipe, _data(row))
    if chunk_layers(recipe) is None:
        raise ValueError("the layers do not divide over the stages")
    return recipe


def _number(row: Row, name: str, otherwise: int | None = None) -> int | None:
    return int(float(row[name])) if row[name] else otherwise


def _data(row: Row) -> dict[str, Any]:
    degrees = {name: _number(row, name, 1) or 1 for name in ("tp", "pp", "vpp", "cp", "ep")}
    gpu = yaml.safe_load((GPUS / f"{GPU_FILES[row['gpu']]}.yaml").read_text(encoding="utf-8"))
    gpus = _number(row, "gpus") or _inferred_gpus(row, degrees)
    dp = gpus // (degrees["tp"] * degrees["pp"] * degrees["cp"])
    micro = _number(row, "micro_batch", 1) or 1
    fp32 = row["family"] not in (
        "alephalpha_layouts",
        "bloom_176b",
        "kempnerforge_h200",
        "dgxc_mem",
    )
    fp32 = fp32 or "grads fp32" in row["notes"]
    zero = re.sub(r".*\((\d)\)", r"\1", row["zero_stage"]) or "1"
    return {
        "name": row["id"],
        "gpus": gpus,
        "model": _model(row),
        "cluster": {"name": "published", "gpu": gpu, "gpus_per_node": 8},
        "backend": {"name": "megatron-lm"},
        "parallel": degrees
        | {"sequence": row["sequence_parallel"] == "1" and degrees["tp"] > 1}
        | ({"etp": 1} if "ETP1" in row["notes"] else {})
        | _ends(row),
        "batch": {"micro": micro, "global": _number(row, "global_batch") or micro * dp},
        "precision": {"kind": row["precision"] or "bf16"},
        "optim": {
            "zero": int(zero),
            "grad_dtype": "fp32" if fp32 else "weights",
            "master": row["family"] != "kempnerforge_h200",
        },
        "recompute": _recompute(row),
        "kernels": {"attention": _attention(row)},
    }


def _ends(row: Row) -> dict[str, Any]:
    counted = "embedding counted as a pipeline layer" in row["notes"]
    return {"account_for_embedding": counted, "account_for_loss": counted}


def _model(row: Row) -> dict[str, Any]:
    llama = row["arch"] in ("llama", "moe")
    bloom = row["family"] == "bloom_176b"
    nemotron = row["family"] in ("megatron_ci_release", "dgxc_mem") and row["arch"] == "gpt"
    names = ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq", "experts", "topk")
    shape = {name: _number(row, name) for name in (*names, "moe_ffn")}
    if not shape["ffn"] and llama and shape["hidden"]:
        shape["ffn"] = -(-int(shape["hidden"] * 8 / 3 * 1.3) // 1024) * 1024
    shape["vocab"] = shape["vocab"] or 131072
    modern = llama or nemotron
    return shape | {
        "activation": "swiglu" if llama else "relu2" if nemotron else "gelu",
        "norm": "rmsnorm" if llama else "layernorm1p" if nemotron else "layernorm",
        "positions": "rope" if modern else "alibi" if bloom else "learned",
        "bias": not modern,
        "tied": not modern or row["family"] == "nanotron_playbook",
        "embedding_norm": bloom,
        "dropout": 0.0 if modern else 0.1,
    }


def _recompute(row: Row) -> dict[str, Any]:
    kind = row["recompute"] or "none"
    return {"kind": kind if kind in ("none", "selective", "full") else "none"}


def _attention(row: Row) -> str:
    kernel = re.search(r"kernel (\w+)", row["notes"])
    if row["family"] == "alephalpha_layouts" and kernel:
        return "unfused" if kernel[1] in ("torch", "fused") else "flash"
    unfused = row["family"].startswith(("bloom", "korthikanti"))
    return "unfused" if unfused else "flash"


def _inferred_gpus(row: Row, degrees: dict[str, int]) -> int:
    """GPUs at which the model states are nearest to the steady memory of the notes."""
    steady = re.search(r"steady\) (\d+) B", row["notes"])
    if not steady:
        raise ValueError("gpus was not published")
    fixed = degrees["tp"] * degrees["pp"] * degrees["cp"]

    def distance(dp: int) -> float:
        peaks = peak_memory(recipe_of(row | {"gpus": str(fixed * dp)}))
        return abs(peaks[-1].memory.model_states - int(steady[1]))

    least = max(1, degrees["ep"] // (degrees["tp"] * degrees["cp"]))
    nearest: int = min((least * 2**power for power in range(8)), key=distance)
    return fixed * nearest


def program_for(row: Row) -> Program:
    """Whose habits the row's source has."""
    if row["family"] == "alephalpha_layouts":
        kernel = row["notes"]
        variant = "-rms" if "RMS kernel" in kernel else "-torch" if "kernel torch" in kernel else ""
        return program(f"scaling{variant}")
    return program(PROGRAMS.get(row["family"], "megatron"))


def counted(row: Row, peaks: tuple[Peak, ...]) -> float:
    """What the source measured, of the stage that it measured."""
    kind = COUNTS.get(row["family"], "allocated")
    if row["family"] == "megatron_ci_release":
        return peaks[-1].allocated
    if row["family"] == "korthikanti2022_mem":
        return peaks[0].memory.model_states + peaks[0].memory.activations
    if kind == "total":
        return max(peak.memory.total for peak in peaks)
    slack = constant("slack_bytes") if kind == "reserved" else 0
    return max(peak.allocated for peak in peaks) + slack


def scores(points: Iterable[Row]) -> tuple[list[Score], dict[str, str]]:
    """Every row with a published peak; the others by the reason."""
    found, left_out = [], {}
    for row in points:
        if not row["peak_mem_gb_per_gpu"]:
            continue
        try:
            predicted = counted(row, peak_memory(recipe_of(row), program_for(row)))
        except (ValueError, LlmtrainError) as error:
            left_out[row["id"]] = str(error)
            continue
        measured = float(row["peak_mem_gb_per_gpu"]) * 1e9
        found.append(
            Score(id=row["id"], family=row["family"], measured=measured, predicted=predicted)
        )
    return found, left_out


def judged(points: Iterable[Row], *, ran: bool) -> Iterator[Judged]:
    """Rows with a full layout, against the memory of their GPU."""
    for row in points:
        if row["family"] not in ("alephalpha_layouts", "bloom_176b"):
            continue
        if not ran and "OOM" not in row["notes"]:
            continue
        try:
            recipe = recipe_of(row)
            peaks = peak_memory(recipe, program_for(row))
        except (ValueError, LlmtrainError):
            continue
        needed = max(peak.needed for peak in peaks)
        capacity = recipe.cluster.gpu.memory_bytes or 1
        yield Judged(
            id=row["id"],
            family=row["family"],
            ran=ran,
            fits=needed <= capacity,
            share=needed / capacity,
        )


def balanced_accuracy(found: Iterable[Judged]) -> float:
    """The mean of the shares of each kind that are judged rightly."""
    found = list(found)
    return mean(
        mean(each.fits == ran for each in found if each.ran is ran)
        for ran in (True, False)
        if any(each.ran is ran for each in found)
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path, default=DATA / "published_points.csv")
    parser.add_argument("--oom", type=Path, default=DATA / "published_oom.csv")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    points = rows(given.points)
    found, left_out = scores(points)
    verdicts = [*judged(points, ran=True), *judged(rows(given.oom), ran=False)]
    if given.json:
        print(json.dumps(_as_json(found, left_out, verdicts)))
        return
    _print(found, left_out, verdicts)


def _as_json(found: list[Score], left_out: dict[str, str], verdicts: list[Judged]) -> Any:
    return {
        "peaks": [asdict(each) for each in found],
        "not_expressible": left_out,
        "verdicts": [asdict(each) for each in verdicts],
        "balanced_accuracy": balanced_accuracy(verdicts),
    }


def _print(found: list[Score], left_out: dict[str, str], verdicts: list[Judged]) -> None:
    print(f"{'peak memory':24}{'n':>5}{'MAPE %':>9}{'median':>9}{'bias':>8}  worst")
    for family in sorted({each.family for each in found}):
        errors = {each.id: each.error for each in found if each.family == family}
        absolute = [abs(error) for error in errors.values()]
        worst = max(errors, key=lambda name: abs(errors[name]))
        print(
            f"{family:24}{len(errors):5}{100 * mean(absolute):9.1f}{100 * median(absolute):9.1f}"
            f"{100 * mean(errors.values()):+8.1f}  {worst} {100 * errors[worst]:+.1f} %"
        )
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    print(
        f"\n{'verdict':24}{'ran+fits':>9}{'ran+no':>8}{'oom+no':>8}{'oom+fits':>9}{'balanced':>10}"
    )
    families = sorted({each.family for each in verdicts})
    for family in [*families, "all"]:
        part = [each for each in verdicts if family in (each.family, "all")]
        cells = [
            sum(each.ran is ran and each.fits is fits for each in part)
            for ran, fits in ((True, True), (True, False), (False, False), (False, True))
        ]
        print(
            f"{family:24}{cells[0]:9}{cells[1]:8}{cells[2]:8}{cells[3]:9}"
            f"{100 * balanced_accuracy(part):9.1f}%"
        )


if __name__ == "__main__":
    main()
