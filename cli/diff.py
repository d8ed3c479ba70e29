"""``llmtrain diff``: two recipes or runs, key by key."""

from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, Recipes, complete_recipe_or_run, folders

Which = Annotated[
    str,
    typer.Argument(
        help="A recipe by name or path, or a run.", autocompletion=complete_recipe_or_run
    ),
]


def diff(a: Which, b: Which, as_json: AsJson = False, recipes: Recipes = None) -> None:
    """Compare two recipes or runs: what changes the experiment, what only maps it."""
    from llmtrain.cli.answer import err, out, print_json
    from llmtrain.cli.footer import print_footer_of_pair
    from llmtrain.cli.show_diff import show_diff
    from llmtrain.runs.diff import differences
    from llmtrain.runs.named import named
    from llmtrain.runs.verify import provenance_drift

    first, second = (named(word, folders(recipes)) for word in (a, b))
    found = differences(first.recipe, second.recipe)
    made = provenance_drift(first.run, second.run) if first.run and second.run else []
    if as_json:
        same = not any(each.label == "experiment" for each in found)
        print_json(
            {
                "a": first.name,
                "b": second.name,
                "same_experiment": same,
                "differences": [each.as_json() for each in found],
                "provenance": [{"what": each.what, "a": each.was, "b": each.now} for each in made],
            }
        )
    else:
        show_diff(first.name, second.name, found, made, out())
        print_footer_of_pair(second, err())
