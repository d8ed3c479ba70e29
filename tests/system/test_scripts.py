"""Scripts of every shipped recipe, held against Slurm's own reader and shellcheck."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import llmtrain.recipes
from llmtrain.config.compose import compose
from llmtrain.launchers.prepare import prepare
from llmtrain.launchers.provenance import Provenance
from llmtrain.planner.plan import make_plan

if TYPE_CHECKING:
    from tests.system.conftest import Bed

RECIPES = sorted(
    path.stem for path in Path(llmtrain.recipes.__path__[0]).glob("*.yaml") if path.stem != "base"
)
SHELLCHECK = Path(sys.executable).with_name("shellcheck")

INSTEAD = {
    "bloom-176b": ("backend=megatron-lm", "model.positions=rope", "model.embedding_norm=false"),
    "glm-130b": ("backend=megatron-lm", "model.norm=layernorm"),
    "opt-175b": (
        *("backend=megatron-lm", "model.activation=gelu"),
        *("optim.zero=1", "optim.master=true", "parallel.pp=4"),
    ),
}
"""What no backend can express is changed; nodes and GPUs stay."""


def script_of(recipe: str, shape: str) -> str:
    """The batch script of a shipped recipe, whole, for the largest partition."""
    words = [f"recipe={recipe}", *INSTEAD.get(recipe, ()), "backend.approximate=true"]
    words += ["backend.path=/opt/program", "site=bed", "site.partition=wide"]
    words += [f"site.launch={shape}", "site.slurm.exclusive=false"]
    plan = make_plan(compose(words, [Path(__file__).parents[1] / "slurm" / "recipes"]))
    assert not plan.errors
    return prepare(plan, Provenance(python="python", packages={})).files["job.sbatch"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_slurm_accepts_every_shipped_recipe_at_full_size(bed: Bed, recipe: str) -> None:
    """``sbatch --test-only`` says when it would start; shellcheck has no remark."""
    scripts = [bed.folder / f"{shape}.sbatch" for shape in ("torchrun", "srun")]
    for script in scripts:
        script.write_text(script_of(recipe, script.stem))

    for script in scripts:
        done = bed.start("sbatch", "--test-only", script)
        assert done.returncode == 0 and "to start at" in done.stderr, done.stderr
    checked = subprocess.run([SHELLCHECK, *scripts], capture_output=True, text=True)
    assert checked.stdout == ""


def test_the_scripts_of_the_test_bed_pass_shellcheck(bed: Bed) -> None:
    """The test-bed's own scripts too."""
    files = sorted(bed.scripts.glob("*.sh"))
    done = subprocess.run(
        [SHELLCHECK, "--external-sources", *files],
        cwd=bed.scripts,
        capture_output=True,
        text=True,
    )

    assert files and done.stdout == ""


def test_a_script_is_piped_into_sbatch(bed: Bed, program: str) -> None:
    """``llmtrain sbatch … | sbatch`` makes the run's folder, and its script runs again there."""
    script = f"{bed.command} sbatch recipe=bed-program {program}"
    job = bed.run("bash", "-c", f"set -o pipefail; {script} | sbatch --parsable").strip()
    folder = bed.folder / "outputs" / f"bed-program-{job}"
    bed.until((folder / "events.jsonl").exists, "the start of the job")
    assert bed.wait(folder)["status"] == "finished"

    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=folder).returncode == 0
    assert len(list(folder.glob("logs/*/rank-*.log"))) == 4

    bed.run("sbatch", folder / "job.sbatch")

    def launches() -> int:
        return (folder / "events.jsonl").read_text().count('"launched"')

    bed.until(lambda: launches() == 2, "the second start in the same folder")


def test_a_recipe_without_a_slurm_site_gives_a_generic_script(bed: Bed, program: str) -> None:
    """The script stands on stdout, the warning on stderr."""
    done = bed.start(bed.command, "sbatch", "recipe=gpt3-126m", program)

    assert done.returncode == 0
    assert done.stdout.startswith("#!/usr/bin/env bash\n#SBATCH --job-name=gpt3-126m\n")
    assert "warning: site none has no Slurm" in done.stderr
