"""``llmtrain env``: the fabric's environment with its reasons, what is wrong with one, what a
variable does."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders

if TYPE_CHECKING:
    from llmtrain.launchers.environment import Environment
    from llmtrain.launchers.fabric.findings import Finding
    from llmtrain.launchers.scripts.document import Document

app = typer.Typer(
    help="The fabric's environment: show it, check one, explain a variable.", no_args_is_help=True
)

FORMATS = ("table", "export", "json", "enroot", "docker", "apptainer")


@app.command("show")
def show(
    arguments: Arguments = None,
    export: Annotated[bool, typer.Option("--export", help="Print `export` lines.")] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="Print it for a program.")
    ] = "table",
    as_json: AsJson = False,
    recipes: Recipes = None,
) -> None:
    """Show the environment of a recipe's ranks, or of a cluster: recipe=NAME or cluster=NAME."""
    from llmtrain.cli.answer import err, out, print_json, print_warnings
    from llmtrain.config.errors import UsageError

    form = "export" if export else form
    if form not in FORMATS:
        raise UsageError(f"--format {form} is not known", hint=f"valid: {', '.join(FORMATS)}")
    found = _environment(arguments or (), folders(recipes))
    if as_json:
        from llmtrain.cli.show_env import environment_json

        print_json(environment_json(found))
    elif form == "table":
        from llmtrain.cli.show_env import show_environment

        show_environment(found, out())
    else:
        from llmtrain.launchers.fabric.forms import FORMS

        sys.stdout.write(FORMS[form](found.variables))
    if not as_json:
        missing = tuple(f"`{key}` must be given before a launch" for key in found.missing)
        print_warnings((*missing, *found.warnings, *_ports(found)), err())


def _ports(found: "Environment") -> tuple[str, ...]:
    """The ports of this machine, where the cluster's data does not name those that compute."""
    from llmtrain.launchers.fabric.ports import compute_ports, exact_list

    here = compute_ports()
    left_out = any(text.startswith("NCCL_IB_HCA ") for text in found.warnings)
    if not left_out or not here:
        return ()
    return (f"the active ports of this machine: `site.env.NCCL_IB_HCA={exact_list(here)}`",)


def _environment(arguments: Sequence[str], search: Sequence[Path]) -> "Environment":
    from llmtrain.launchers.environment import environment, of_place

    if not any(word.startswith("recipe=") for word in arguments):
        from llmtrain.config.surroundings import surroundings

        return of_place(*surroundings(arguments, search))
    from llmtrain.cli.planning import planned
    from llmtrain.launchers.backends import program
    from llmtrain.launchers.launch import Program

    plan = planned(arguments, search)
    # What a launch would refuse has an environment all the same.
    return environment(plan.recipe, Program() if plan.errors else program(plan))


@app.command("lint")
def lint(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE | recipe=NAME [KEY=VALUE]… | -]",
            help="A script, YAML or env file; a recipe; - reads stdin; nothing: this environment.",
            show_default=False,
        ),
    ] = None,
    nccl: Annotated[
        str | None,
        typer.Option("--nccl", metavar="VERSION", help="The NCCL that will read it."),
    ] = None,
    as_json: AsJson = False,
    recipes: Recipes = None,
) -> None:
    """Find what is misspelt, out of range, obsolete, in conflict or lost on the way.

    The exit status is 1 where there is an error or a warning.
    """
    from llmtrain.cli.answer import out, print_json
    from llmtrain.launchers.fabric.findings import counts

    name, found = _linted(what or [], nccl, folders(recipes))
    if as_json:
        from llmtrain.launchers.fabric.lint import summary

        print_json(
            {"file": name, "findings": [f.as_json() for f in found], "summary": summary(found)}
        )
    else:
        from llmtrain.cli.show_env import show_findings

        show_findings(name, found, out())
    if counts(found):
        raise typer.Exit(1)


def _linted(
    what: list[str], nccl: str | None, search: Sequence[Path]
) -> tuple[str, tuple["Finding", ...]]:
    from llmtrain.config.errors import UsageError
    from llmtrain.launchers.fabric.lint import Version
    from llmtrain.launchers.fabric.lint import lint as lint_document

    version = Version.parse(nccl) if nccl else None
    if nccl and version is None:
        raise UsageError(f"--nccl {nccl} is no version of NCCL such as 2.21.5")
    if any("=" in word for word in what):
        from llmtrain.launchers.fabric.of_recipe import lint_recipe

        script = _script_of(what)
        if script is None or len(what) > 1:
            from llmtrain.cli.planning import planned

            return "", lint_recipe(planned(what, search), version)
        what = [script]
    if len(what) > 1:
        raise UsageError(f"{len(what)} files were given: one at a time")
    name, document = _document(what[0] if what else "")
    return name, lint_document(document, nccl=version)


def _script_of(words: Sequence[str]) -> str | None:
    """The file of ``recipe=FILE.sh`` alone."""
    if len(words) != 1 or not words[0].startswith("recipe="):
        return None
    name = words[0].partition("=")[2]
    return name if Path(name).suffix not in ("", ".yaml") and Path(name).is_file() else None


def _document(name: str) -> "tuple[str, Document]":
    import os

    from llmtrain.config.errors import UsageError
    from llmtrain.launchers.scripts.document import live, read_document

    if not name:
        return "this environment", live(os.environ)
    if name == "-":
        return "stdin", read_document(sys.stdin.read())
    try:
        text = Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from error
    return name, read_document(text, name)


@app.command("explain")
def explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A variable.")],
    as_json: AsJson = False,
    recipes: Recipes = None,
) -> None:
    """Tell what a variable does, what it may be, and what clusters set."""
    from llmtrain.cli.answer import out, print_json
    from llmtrain.launchers.fabric.explain import explain as look_up

    found = look_up(name, folders(recipes))
    if as_json:
        print_json(found.as_json())
    else:
        from llmtrain.cli.show_env import show_explanation

        show_explanation(found, out())
