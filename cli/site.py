"""``llmtrain site``: what this cluster's custom is."""

from pathlib import Path
from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, Recipes, folders

app = typer.Typer(help="Detect a cluster's custom, or show a site.", no_args_is_help=True)


@app.command("detect")
def detect(
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask this machine's Slurm, and write a site."""
    from dataclasses import asdict

    from llmtrain.cli.answer import err, print_json
    from llmtrain.cli.new_file import write_new
    from llmtrain.config.errors import LaunchError
    from llmtrain.runs.detect import detect as ask
    from llmtrain.runs.site_file import site_yaml

    facts = ask()
    if as_json:
        print_json(asdict(facts))
        return
    text = site_yaml(facts)
    if file is None:
        typer.echo(text, nl=False)
        err().print(f"save it as ~/.config/llmtrain/site/{facts.cluster}.yaml")
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"{file.parent} cannot be made: {error.strerror}") from error
    write_new(file, text)
    err().print(f"wrote {file}; use it with site={file.stem}")


@app.command("show")
def show(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    as_json: AsJson = False,
    recipes: Recipes = None,
) -> None:
    """Print a site with all its defaults; without a name, the one of a recipe that names none."""
    import yaml

    from llmtrain.cli.answer import err, print_json
    from llmtrain.config.build import plain
    from llmtrain.config.compose import compose
    from llmtrain.config.search import search_path

    chosen = [] if name is None else [f"site={name}"]
    site = plain(compose(["recipe=gpt-tiny", *chosen], folders(recipes)).site)
    if as_json:
        print_json(site)
    else:
        typer.echo(yaml.safe_dump(site, sort_keys=False, allow_unicode=True), nl=False)
        if name is None:
            err().print(f"sites: {', '.join(search_path(folders(recipes)).options('site'))}")
