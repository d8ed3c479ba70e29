"""``llmtrain recipes``: find, read, take away."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, Recipes, folders

app = typer.Typer(help="Find recipes, read them, take them away.", invoke_without_command=True)


def _complete(incomplete: str) -> list[str]:
    from llmtrain.config.search import search_path

    return [name for name in search_path().recipes() if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_complete)]


@app.callback()
def _default(context: typer.Context, as_json: AsJson = False, recipes: Recipes = None) -> None:
    if context.invoked_subcommand is None:
        list_recipes(as_json=as_json, recipes=recipes)


@app.command("list")
def list_recipes(as_json: AsJson = False, recipes: Recipes = None) -> None:
    """List the recipes with a line on each."""
    from llmtrain.cli.answer import out, print_json
    from llmtrain.config.catalog import catalog
    from llmtrain.config.search import search_path

    entries = catalog(search_path(folders(recipes)))
    if as_json:
        print_json({"recipes": [entry.as_json() for entry in entries]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("recipe", "GPUs", "cluster", "backend", "what"):
        table.add_column(name, justify="right" if name == "GPUs" else "left", overflow="fold")
    for entry in entries:
        table.add_row(
            entry.name, str(entry.gpus or ""), entry.cluster, entry.backend, entry.description
        )
    out().print(table)


@app.command("show")
def show(name: Name, as_json: AsJson = False, recipes: Recipes = None) -> None:
    """Print a recipe's file, or with --json the whole recipe as composed."""
    from llmtrain.cli.answer import print_json
    from llmtrain.config.build import plain
    from llmtrain.config.compose import compose
    from llmtrain.config.search import recipe_file, search_path

    path = recipe_file(name, search_path(folders(recipes)))
    if as_json:
        print_json(plain(compose([f"recipe={name}"], folders(recipes))))
    else:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)


@app.command("copy")
def copy(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    recipes: Recipes = None,
) -> None:
    """Copy a recipe's file, to change it and use it as `recipe=FILE`."""
    from llmtrain.cli.answer import err
    from llmtrain.cli.new_file import write_new
    from llmtrain.config.search import recipe_file, search_path

    if file.suffix != ".yaml":
        raise typer.BadParameter(f"{file} does not end in .yaml, by which recipes are known")
    text = recipe_file(name, search_path(folders(recipes))).read_text(encoding="utf-8")
    write_new(file, text)
    err().print(f"wrote {file}; use it with: llmtrain plan recipe={shlex.quote(str(file))}")
