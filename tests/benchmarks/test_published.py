"""``python -m benchmarks.published``: any CSV is answered row by row, and the table stays good."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.express import express
from benchmarks.points import Point

ROOT = Path(__file__).parents[2]

GOOD = {
    "id": "new-001", "family": "new", "year": "2024", "framework": "Megatron-LM",
    "gpu": "h100-80g-sxm", "interconnect": "8x400G", "gpus": "64", "gpus_per_node": "8",
    "arch": "llama", "layers": "80", "hidden": "8192", "heads": "64", "kv_heads": "8",
    "ffn": "28672", "vocab": "128256", "seq": "8192", "params_b": "70.6", "tp": "4", "pp": "4",
    "vpp": "5", "cp": "2", "ep": "1", "micro_batch": "1", "global_batch": "128",
    "precision": "bf16", "recompute": "none", "sequence_parallel": "1", "zero_stage": "1",
    "step_time_s": "14.72",
}  # fmt: skip
"""A row of a family that the shipped file lacks."""

ODD: list[dict[str, str]] = [
    {"gpu": "tpu-v5p"},
    {"gpu": ""},
    {"layers": ""},
    {"layers": "many"},
    {"gpus": "0"},
    {"gpus": "63"},
    {"tp": "", "pp": ""},
    {"heads": "63"},
    {"global_batch": "-5"},
    {"precision": "nvfp4"},
    {"notes": "LoRA"},
    {"arch": "hybrid-mamba-moe"},
    {"hidden": "nan"},
    {"vpp": "81"},
    {"gpu": "b300", "interconnect": "unheard of", "vpp": "", "micro_batch": "", "zero_stage": ""},
    {"experts": "8", "topk": "9", "arch": "moe"},
    {"seq": "1e9", "step_time_s": "inf"},
    {"interconnect": "0x0G"},
    {"layers": "99999999"},
    {"vpp": "99999999"},
    {"global_batch": "3"},
    {"gpu": "NVIDIA H100 SXM5", "framework": "unheard of", "year": "", "recompute": ""},
    {"gpu": "GB200 NVL72", "precision": "mxfp8", "recompute": "", "gpus": "", "dp": "8"},
    {"gpu": "a100-pcie-40gb"},
    {"zero_stage": "FULL_SHARD", "framework": "PyTorch FSDP", "tp": "", "pp": "", "vpp": ""},
]


def published(*arguments: str, program: str = "published") -> str:
    """What the program prints."""
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "Traceback" not in run.stderr
    return run.stdout


def rows_of(file: Path, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The JSON rows for a CSV of ``rows``."""
    columns = sorted({name for row in rows for name in row})
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    found: list[dict[str, Any]] = json.loads(published("--points", str(file), "--json"))["rows"]
    return found


def test_every_row_is_answered(tmp_path: Path) -> None:
    """Odd rows get a reason or numbers, never a traceback; the good one is predicted well."""
    rows = [GOOD] + [GOOD | odd | {"id": f"odd-{n}"} for n, odd in enumerate(ODD)]

    found = rows_of(tmp_path / "points.csv", rows)

    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert abs(found[0]["step_seconds"] / 14.72 - 1) < 0.06
    assert found[0]["not_expressible"] is None
    for row in found:
        assert (row["step_seconds"] is None) == (row["not_expressible"] is not None)
    assert "tpu-v5p is not known" in found[1]["not_expressible"]


def test_a_program_cuts_and_sums_as_it_does() -> None:
    """Aleph Alpha's library counts the ends as layers; early megatron-core drops in GPT alone."""
    aleph = GOOD | {"framework": "Aleph Alpha Scaling", "vpp": "1", "pp": "4", "layers": "40"}
    early = GOOD | {"framework": "Megatron-Core 0.8"}
    rows = [Point(cells) for cells in (aleph, early, early | {"arch": "gpt"})]

    cut, llama, gpt = (express(row, rows) for row in rows)

    assert cut.recipe.parallel.layers_per_stage == (10, 11, 11, 8)
    assert cut.recipe.optim.grad_dtype == "weights"
    assert llama.stack == gpt.stack == "megatron-core-2023"
    assert (llama.recipe.model.dropout, gpt.recipe.model.dropout) == (0.0, 0.1)


def test_a_row_runs_the_kernel_that_its_program_did() -> None:
    """NeMo 1 had cuDNN's attention off, NeMo 2 has it on; JAX drops what its policy names."""
    early = GOOD | {"framework": "NeMo 1.x"}
    late = GOOD | {"framework": "NeMo"}
    jax = GOOD | {"source": "NVIDIA dgxc-benchmarking 25.04: Maxtext Llama3 70b BF16"}
    rows = [Point(cells) for cells in (early, late, jax)]

    first, second, third = (express(row, rows) for row in rows)

    assert (first.stack, first.recipe.kernels.attention) == ("nemo-2023", "flash")
    assert (second.stack, second.recipe.kernels.attention) == ("nemo-2024", "auto")
    assert third.stack == "maxtext-2025"


def test_few_columns_are_enough_for_a_reason(tmp_path: Path) -> None:
    """A file without most columns is answered too."""
    found = rows_of(tmp_path / "points.csv", [{"id": "a", "family": "b"}])

    assert found[0]["step_seconds"] is None and found[0]["not_expressible"]


def test_the_shipped_table() -> None:
    """Errors of held-out families stay where they are; the table names every part."""
    text = published()

    table = text.split("\n\n")[0].splitlines()
    figures = {line.split()[0]: line.split() for line in table}
    for family, most in (
        ("korthikanti2022", 3.0),
        ("mtnlg", 3.0),
        ("megatron_h100", 6.0),
        ("mlperf_gpt3", 6.0),
        ("nemo_h100_fp8", 6.0),
        ("llmfoundry_h100", 6.0),
        ("llmfoundry_a10080g", 6.0),
        ("alephalpha_layouts", 6.0),
        ("dgxc_h100", 6.0),
        ("bloom_176b", 7.0),
    ):
        assert float(figures[family][2]) <= most, figures[family]
    every = next(line.split() for line in table if line.startswith("all rows "))
    assert float(every[4]) <= 4.0, every
    assert "each of these is scored by a fit without it" in text
    assert "beside others" in text
    assert "rows that no recipe can say" in text
    assert "blank cells that were filled" in text


def test_verdicts_on_what_ran_and_what_did_not() -> None:
    """Of all rows with a full layout, runs are said to fit and out-of-memory is not: 90 %."""
    said = json.loads(published("--json", program="published_memory"))

    ran = [row["fits"] for row in said["verdicts"] if row["ran"]]
    assert len(ran) > 600 and sum(ran) / len(ran) > 0.9
    assert said["balanced_accuracy"] >= 0.9
    bloom = [abs(row["error"]) for row in said["peaks"] if row["family"] == "bloom_176b"]
    assert sum(bloom) / len(bloom) < 0.07
