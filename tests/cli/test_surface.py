"""The verbs and options that there are: a list that does not grow unnoticed."""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from llmtrain.cli.main import app

SURFACE = {
    "llmtrain": "--debug --help --install-completion --show-completion --version -h",
    "llmtrain run": "--dry-run --help --json --print --recipes --wait --yes -h -y ARGUMENTS",
    "llmtrain plan": "--backends --explain --help --json --recipes -h ARGUMENTS",
    "llmtrain tune": "--free --help --json --keep --least --recipes --top --within -h ARGUMENTS",
    "llmtrain import": "--help --json -h ARGUMENTS FILE",
    "llmtrain site": "--help -h",
    "llmtrain site detect": "--help --json --output -h -o",
    "llmtrain site show": "--help --json --recipes -h NAME",
    "llmtrain verify": "--help --json -h NAME",
    "llmtrain sbatch": "--help --json --recipes -h ARGUMENTS",
    "llmtrain env": "--help -h",
    "llmtrain env show": "--export --format --help --json --recipes -h ARGUMENTS",
    "llmtrain env lint": "--help --json --nccl --recipes -h WHAT",
    "llmtrain env explain": "--help --json --recipes -h NAME",
    "llmtrain data": "--help -h",
    "llmtrain data prepare": "--end --help --json --key --lines --output --overwrite --strict "
    "--tokenizer --workers -h -o INPUTS",
    "llmtrain doctor": "--days --exclude --help --json --reason --recipes -h ARGUMENTS",
    "llmtrain drill": "--help --json --recipes --yes -h -y ARGUMENTS",
    "llmtrain status": "--all --help --json --prometheus --watch -h -w NAME",
    "llmtrain logs": "--follow --grep --help --json --rank -f -h NAME",
    "llmtrain why": "--help --json --life -h WHAT",
    "llmtrain diff": "--help --json --recipes -h A B",
    "llmtrain calibrate": "--help --json --output -h -o NAMES",
    "llmtrain cancel": "--help --json -h NAME",
    "llmtrain resume": "--check --help --json --wait -h CHANGES NAME",
    "llmtrain recipes": "--help --json --recipes -h",
    "llmtrain recipes list": "--help --json --recipes -h",
    "llmtrain recipes show": "--help --json --recipes -h NAME",
    "llmtrain recipes copy": "--help --recipes -h FILE NAME",
}
"""What users and scripts rely on. An addition here is an addition to the docs."""


def surface(command: Any, name: str, context: Any = None) -> Iterator[tuple[str, str]]:
    """Every command below ``command`` with its options and arguments."""
    made = command.make_context(name, [], parent=context, resilient_parsing=True)
    words = [
        word
        for each in command.get_params(made)
        for word in (each.opts if each.param_type_name == "option" else [each.name.upper()])
    ]
    yield made.command_path, " ".join(sorted(words))
    for verb, inner in getattr(command, "commands", {}).items():
        yield from surface(inner, verb, made)


def test_the_surface_is_what_was_agreed() -> None:
    """No verb, option or argument more or less."""
    assert dict(surface(get_command(app), "llmtrain")) == SURFACE


def test_everything_says_what_it_does() -> None:
    """Each verb and each option has a line of help."""
    silent = [
        (name, each.name)
        for name, command in commands(get_command(app), "llmtrain")
        for each in command.params
        if each.param_type_name == "option" and not each.help
    ]

    assert silent == []
    assert [name for name, command in commands(get_command(app), "") if not command.help] == []


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command below ``command``."""
    yield name, command
    for verb, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {verb}")
