"""The job before the run's: ``cache.sbatch`` builds the index of the data on a CPU partition.

Ranks that build it keep their GPUs waiting, for hours where there are many tokens. What is built is
decided by the recipe and the data's files: where a mark with their digest lies in ``data.cache``,
there is nothing to do.
"""

import hashlib
import json
import re
from collections.abc import Iterator

from llmtrain.config.layout import step_samples, total_steps
from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.config.site import Site
from llmtrain.launchers.containers import is_ours
from llmtrain.launchers.content import as_json
from llmtrain.launchers.launch import Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.launchers.schedulers.slurm_batch import (
    Batch,
    brought,
    brought_settings,
    environment_lines,
)
from llmtrain.launchers.schedulers.slurm_header import job_name, line
from llmtrain.launchers.schedulers.slurm_srun import python, step_lines
from llmtrain.launchers.shell import array, assign, assign_path, package_text
from llmtrain.planner.limits import version_of
from llmtrain.planner.plan import Plan

SCRIPT = "cache.sbatch"
FACTS = "cache.json"
TOOL = "tools/prepare_cache.py"
"""Of Megatron-LM; it takes the arguments of the training."""
SINCE = (0, 18)
"""Release of megatron-core that brought it (NVIDIA/Megatron-LM#4080, core_v0.18.0)."""


def cache_files(
    plan: Plan, program: Program, variables: tuple[Variable, ...], provenance: Provenance
) -> dict[str, str]:
    """The script and what decides whether it is needed; nothing where it cannot be."""
    recipe = plan.recipe
    build = _build(plan, program)
    if why_not(recipe) or not build:
        return {}
    batch = Batch(
        plan=plan,
        program=program,
        variables=variables,
        provenance=provenance,
        files={},
        sums="",
    )
    digest = _digest(recipe)
    facts = {"folder": recipe.data.cache, "digest": digest, "files": [*_data(recipe)]}
    return {SCRIPT: _script(batch, build, digest), FACTS: as_json(facts)}


def why_not(recipe: Recipe) -> str:
    """Why no such job goes before the run's; empty where one does."""
    site, data = recipe.site, recipe.data
    if site.cpu_partition is None:
        return "`site.cpu_partition` is not given"
    if data.kind == "mock":
        return "made-up tokens have no index"
    if data.cache is None:
        return "`data.cache` is not given: every node would look in another place"
    if not trains(recipe) and recipe.backend.name != "megatron-lm":
        return f"{recipe.backend.name} has no program that builds the index alone"
    if recipe.backend.name == "megatron-lm" and _release(recipe) < SINCE:
        return f"{version_of(recipe)} has no {TOOL}"
    if site.slurm.groups:
        return "of a heterogeneous job no part is on a CPU partition"
    return ""


def _release(recipe: Recipe) -> tuple[int, ...]:
    found = re.fullmatch(r"core_v(\d+)\.(\d+)\..*", version_of(recipe))
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _build(plan: Plan, program: Program) -> tuple[str, ...]:
    """What builds the index, after the interpreter."""
    if is_ours(program):
        return ("-m", "llmtrain.trainer.cache", ".")
    path = plan.recipe.backend.path
    if path is None or path.endswith(".py"):
        return ()
    world = str(plan.nodes * plan.ranks_per_node)
    return (f"{path.rstrip('/')}/{TOOL}", "--prepare-cache-world-size", world, *program.arguments)


def _digest(recipe: Recipe) -> str:
    """Of all in the recipe that decides the index."""
    data, steps = recipe.data, total_steps(recipe)
    decides = {
        "program": [recipe.backend.name, recipe.backend.version, recipe.backend.path],
        "data": [data.kind, data.weights, data.split, data.tokenizer],
        "validation": [data.validation.interval, data.validation.batches, data.validation.weights],
        "samples": step_samples(recipe, steps).start if steps else None,
        "seed": recipe.run.seed,
        "seq": recipe.model.seq,
        "vocab": recipe.model.vocab,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _data(recipe: Recipe) -> Iterator[str]:
    for prefix in (*recipe.data.paths, *recipe.data.validation.paths):
        yield from (f"{prefix}.bin", f"{prefix}.idx")


def _script(batch: Batch, build: tuple[str, ...], digest: str) -> str:
    recipe, site = batch.plan.recipe, batch.plan.recipe.site
    parts = [
        "\n".join([*_head(recipe), *_settings(batch, build, digest)]),
        *([package_text("modules.sh").rstrip("\n")] if site.modules else []),
        *([package_text("secrets.sh").rstrip("\n")] if site.secrets.names else []),
        "\n".join(environment_lines(batch.variables)),
        "\n".join(["compose_step() {", *(f"    {each}" for each in step_lines(batch)), "}"]),
        package_text("cache.sh").rstrip("\n"),
        "\n".join(_main(site)),
    ]
    return "\n\n".join(parts) + "\n"


def _head(recipe: Recipe) -> Iterator[str]:
    site = recipe.site
    yield "#!/usr/bin/env bash"
    options: dict[str, str | None] = {
        "job-name": f"{job_name(recipe.run_name)[:54]}-cache",
        "account": site.account,
        "partition": site.cpu_partition,
        "nodes": "1",
        "ntasks": "1",
    }
    for name, value in options.items():
        if value is not None:
            yield line(name, value)
    yield line("exclusive", None)
    yield line("output", "logs/cache.log")
    yield line("open-mode", "append")
    yield "# Builds the index of the data, for the run's job. Submit it from the run's folder."
    yield "set -euo pipefail"
    if site.umask:
        yield f"umask {site.umask}"


def _settings(batch: Batch, build: tuple[str, ...], digest: str) -> Iterator[str]:
    recipe, site = batch.plan.recipe, batch.plan.recipe.site
    yield ""
    yield assign("python", python(batch))
    yield assign("digest", digest)
    yield assign_path("cache", recipe.data.cache or "")
    yield array("files", _data(recipe))
    yield array("build", build)
    path = recipe.backend.path
    yield assign("checkout", path if path and not is_ours(batch.program) else "")
    yield from brought_settings(site)


def _main(site: Site) -> Iterator[str]:
    yield "main() {"
    yield "    begin"
    yield from brought(site)
    yield "    environment"
    yield "    build_index"
    yield "}"
    yield ""
    yield "main"
    yield "exit"
