"""Variables that a script exports and its launcher does not hand on."""

from collections.abc import Iterator, Sequence

from llmtrain.launchers.fabric.findings import Finding
from llmtrain.launchers.fabric.known import known
from llmtrain.launchers.scripts.document import Document
from llmtrain.launchers.scripts.expand import is_open
from llmtrain.launchers.scripts.script import Command, Script, option_of

PDSH = ("MLFLOW", "PYTHON", "MV2", "UCX", "NCCL")
"""Beginnings of names that DeepSpeed's pdsh launcher hands on.

Source: DeepSpeed 0.19.8 ``launcher/runner.py`` (EXPORT_ENVS), ``accelerator/cuda_accelerator.py``.
"""

OF_THE_NODE = {"CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"}
"""Names that launchers set by themselves."""


def not_forwarded(document: Document) -> Iterator[Finding]:
    """A finding for each launcher that drops variables of the script."""
    for script in document.scripts:
        for command in script.commands:
            yield from _pyxis(script, command)
            yield from _export_list(script, command)
            yield from _pdsh(script, command, document.text)


def _names(script: Script, command: Command) -> list[str]:
    """Known variables that are exported above the command."""
    found = [s for s in script.settings if s.exported or s.name in script.exported]
    before = {s.name for s in found if 0 < s.line <= command.line and s.name in known()}
    return sorted(before - OF_THE_NODE)


def _options(words: Sequence[str]) -> dict[str, str]:
    """Long options of ``srun``, up to the program."""
    found: dict[str, str] = {}
    for number, word in enumerate(words[1:], start=1):
        if not word.startswith("-") and words[number - 1][:1] != "-" and number > 1:
            break
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            following = words[number + 1] if number + 1 < len(words) else ""
            found[name] = value if equals else following
    return found


def _pyxis(script: Script, command: Command) -> Iterator[Finding]:
    """pyxis lets the image's own value win unless ``--container-env`` names the variable."""
    if command.words[:1] != ("srun",):
        return
    options = _options(command.words)
    image = options.get("--container-image")
    if image is None and "container-image" not in script.options:
        return
    asked = options.get("--container-env", script.options.get("container-env", ""))
    if is_open(asked):
        return
    names = [name for name in _names(script, command) if name not in asked.split(",")]
    if names:
        says = f"srun starts a container without --container-env for {', '.join(names)}: where "
        yield Finding(
            code="not_forwarded",
            severity="warning",
            line=command.line,
            name=",".join(names),
            says=f"{says}the image sets them itself, the image wins",
            hint=f"--container-env={','.join(names)}",
            source="NVIDIA/pyxis#26 and #124",
        )


def _export_list(script: Script, command: Command) -> Iterator[Finding]:
    """``srun --export`` without ALL hands on what it lists."""
    if command.words[:1] != ("srun",):
        return
    listed = _options(command.words).get("--export")
    if listed is None or is_open(listed) or "ALL" in listed.split(","):
        return
    given = {item.partition("=")[0] for item in listed.split(",")}
    names = [name for name in _names(script, command) if name not in given]
    if names:
        yield Finding(
            code="not_forwarded",
            severity="warning",
            line=command.line,
            name=",".join(names),
            says=f"srun --export={listed} does not hand on {', '.join(names)}",
            hint="--export=ALL",
            source="slurm.schedmd.com/srun.html",
        )


def _pdsh(script: Script, command: Command, text: str) -> Iterator[Finding]:
    """DeepSpeed's own launcher, on several nodes, hands on names with certain beginnings."""
    if not command.words or command.words[0].rpartition("/")[2] != "deepspeed":
        return
    words = command.words
    nodes = option_of(words, "--num_nodes") or ""
    listed = any(word.partition("=")[0] == "--hostfile" for word in words)
    several = (listed and nodes != "1") or (nodes.isdigit() and int(nodes) > 1)
    launcher = option_of(words, "--launcher") or "pdsh"
    if not several or launcher.lower() != "pdsh" or ".deepspeed_env" in text:
        return
    names = [name for name in _names(script, command) if not name.startswith(PDSH)]
    if names:
        yield Finding(
            code="not_forwarded",
            severity="warning",
            line=command.line,
            name=",".join(names),
            says=f"deepspeed starts other nodes by pdsh, which does not hand on {', '.join(names)}",
            hint="write NAME=value lines into ~/.deepspeed_env, or start the ranks with torchrun",
            source="DeepSpeed 0.19.8 launcher/runner.py (EXPORT_ENVS)",
        )
