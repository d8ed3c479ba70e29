"""What a word on the command line names: a recipe, or a run and the recipe it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from llmtrain.config.compose import compose
from llmtrain.config.errors import Problem, RecipeError, RunError
from llmtrain.config.files import read_recipe
from llmtrain.config.recipe import Recipe
from llmtrain.config.search import search_path
from llmtrain.runs.folder import find_run, run_folders, run_roots


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """A recipe that was named."""

    name: str
    """What it is called in a table."""
    recipe: Recipe
    """Composed, or as the run has it."""
    run: Path | None
    """The run's folder; None: no run, a recipe."""


def named(word: str, folders: Sequence[Path] = ()) -> Named:
    """The recipe that ``word`` names, by its name or path, or that of the run it names.

    Raises:
        RecipeError: if it is neither, or the recipe is invalid.
        RunError: if several runs begin so.
    """
    word = word.removeprefix("recipe=")
    is_run = (Path(word) / "launch.json").is_file()
    if not is_run and (word.endswith(".yaml") or word in search_path(folders).recipes()):
        return Named(name=word, recipe=compose([f"recipe={word}"], folders), run=None)
    try:
        folder = find_run(word)
    except RunError as error:
        if error.problems[0].code == "ambiguous_run":
            raise
        raise RecipeError(_neither(word, folders)) from error
    return Named(name=folder.name, recipe=read_recipe(folder / "recipe.yaml"), run=folder)


def _neither(word: str, folders: Sequence[Path]) -> Problem:
    known = [*search_path(folders).recipes(), *(path.name for path in run_folders(*run_roots()))]
    close = get_close_matches(word, known, n=3, cutoff=0.5)
    listed = "`llmtrain recipes` and `llmtrain status` list them"
    return Problem(
        code="unknown_recipe",
        says=f"there is no recipe and no run {word!r}",
        hint=f"did you mean {' or '.join(close)}?" if close else listed,
    )
