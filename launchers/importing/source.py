"""A file that launches something: its program, its arguments, and all that stands around them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmtrain.config.errors import Problem, UsageError
from llmtrain.launchers.fabric.known import known
from llmtrain.launchers.scripts.expand import is_open, shown
from llmtrain.launchers.scripts.follow import read_script
from llmtrain.launchers.scripts.program import Program, find_program
from llmtrain.launchers.scripts.script import Script, option_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What was found in a file."""

    name: str
    """Of the file, without its ending."""
    backend: str
    """megatron-lm or megatron-deepspeed."""
    words: tuple[str, ...]
    """The program's arguments."""
    path: str | None = None
    """The program's checkout, if that is known."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """DeepSpeed's JSON."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the fabric that the file exports."""
    gpus: int | None = None
    """Ranks, if the file says how many."""
    per_node: int | None = None
    """Ranks of a node."""
    options: Mapping[str, str] = field(default_factory=dict)
    """``sbatch`` options."""
    container: Mapping[str, str] = field(default_factory=dict)
    """Image and mounts of ``srun``."""
    notes: tuple[str, ...] = ()
    """What could not be read."""


def read_source(file: Path) -> Source:
    """Read a launch script, a command line or a NeMo YAML.

    Raises:
        UsageError: if the file cannot be read or starts no program that is known.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    if file.suffix in (".yaml", ".yml", ".json"):
        from llmtrain.launchers.importing.nemo import read_nemo

        return read_nemo(file, text)
    script = read_script(text)
    program = find_program(script)
    if program is None or program.name not in ("megatron-lm", "megatron-deepspeed"):
        raise UsageError(
            Problem(
                code="no_program",
                says=f"{file} starts no pretrain_gpt.py of a Megatron with its arguments",
                hint="`--num-layers` and `--hidden-size` tell one; a line of arguments will do",
            )
        )
    return _of_script(file, script, program)


def _of_script(file: Path, script: Script, program: Program) -> Source:
    engine, notes = _engine(file, script, program)
    ranks, per_node = _ranks(script, program)
    return Source(
        name=re.sub(r"\W+", "-", file.stem).strip("-") or "imported",
        backend=program.name,
        words=program.arguments,
        path=_checkout(program),
        engine=engine,
        environment={
            name: value
            for name, value in script.environment().items()
            if name in known() and not is_open(value) and name not in ("CUDA_VISIBLE_DEVICES",)
        },
        gpus=ranks,
        per_node=per_node,
        options=script.options,
        container=_container(script),
        notes=notes,
    )


def _checkout(program: Program) -> str | None:
    folder, slash, _ = program.script.rpartition("/")
    return folder if slash and folder and not is_open(folder) and folder != "." else None


def _engine(
    file: Path, script: Script, program: Program
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """DeepSpeed's JSON: written by the script, or beside it."""
    name = option_of(program.arguments, "--deepspeed_config", "--deepspeed-config")
    if name is None:
        return {}, ()
    beside = file.parent / Path(shown(name)).name
    text = script.files.get(name)
    if text is None and beside.is_file():
        text = beside.read_text(encoding="utf-8", errors="replace")
    if text is None:
        return {}, (f"{shown(name)}: DeepSpeed's JSON is not beside the file",)
    try:
        found = json.loads(re.sub(r",(\s*[}\]])", r"\1", text))
    except ValueError:
        return {}, (f"{shown(name)}: DeepSpeed's JSON is filled in when it runs",)
    return (found if isinstance(found, dict) else {}), ()


NODES = ("--nnodes", "--num_nodes", "--num-nodes", "-N", "--nodes")
"""What torchrun, deepspeed and srun call the number of nodes."""


def _ranks(script: Script, program: Program) -> tuple[int | None, int | None]:
    """All ranks, and those of a node, as the launcher or Slurm says."""
    words, options = program.launcher, script.options
    nodes = _number(words, *NODES)
    each = _number(words, "--nproc_per_node", "--nproc-per-node", "--num_gpus", "--num-gpus")
    nodes = nodes or _digits(options.get("nodes"))
    alone = each if option_of(words, *NODES, "--hostfile") is None else None
    gres = options.get("gres", "") + ":" + options.get("gpus-per-node", "")
    in_gres = re.findall(r"(?<![\w.])(\d+)(?![\w.])", gres.replace("gpu", ""))
    each = each or (int(in_gres[-1]) if in_gres else None)
    each = each or _digits(options.get("ntasks-per-node"))
    given = script.values
    for name in ("GPUS_PER_NODE", "NUM_GPUS_PER_NODE", "NPROC_PER_NODE"):
        each = each or _digits(given.get(name))
    for name in ("NNODES", "NUM_NODES", "NODES"):
        nodes = nodes or _digits(given.get(name))
    # A launcher that is told of no nodes starts its own.
    world = _digits(given.get("WORLD_SIZE")) or alone
    return (nodes * each if nodes and each else world), each


def _digits(text: str | list[str] | None) -> int | None:
    return int(text) if isinstance(text, str) and re.fullmatch(r"\d+", text) else None


def _number(words: Sequence[str], *names: str) -> int | None:
    return _digits(option_of(words, *names))


def _container(script: Script) -> Mapping[str, str]:
    """The image and mounts of the ``srun`` that starts the program."""
    for command in script.commands:
        if command.words[:1] == ("srun",):
            found = {
                name: option_of(command.words, f"--container-{name}")
                for name in ("image", "mounts")
            }
            known_ones = {k: v for k, v in found.items() if v and not is_open(v)}
            if known_ones:
                return known_ones
    return {}
