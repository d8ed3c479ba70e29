"""The one function that composes a recipe: Hydra's compose API between our own checks.

Hydra merges; what it would answer to a mistake is answered here, with every mistake at once.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra import initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from llmtrain.config.composition import Composition
from llmtrain.config.errors import RecipeError, UsageError
from llmtrain.config.mistakes import answered
from llmtrain.config.overrides import parse_arguments
from llmtrain.config.recipe import Recipe
from llmtrain.config.repairs import RULES, Judge, with_repairs
from llmtrain.config.rules import violations
from llmtrain.config.search import SearchPath, recipe_file, search_path


def compose(
    arguments: Sequence[str],
    folders: Sequence[Path] = (),
    judge: Judge = RULES,
    mended: Container[str] = (),
) -> Recipe:
    """Compose ``recipe=NAME key=value…`` into a checked :class:`Recipe`.

    Args:
        arguments: as on the command line; one of them is ``recipe=``.
        folders: folders that are searched first.
        judge: what counts as a valid repair.
        mended: codes of rules that the recipe may break, because the caller mends them.

    Raises:
        UsageError: if an argument cannot be read.
        RecipeError: with every mistake, where it was set, and repairs that are valid.
    """
    asked = parse_arguments(arguments)
    if asked.recipe is None:
        raise UsageError("no recipe: say `recipe=NAME`", hint="`llmtrain recipes` lists them")
    path = search_path(folders)
    with _opened(path, asked.recipe) as (opened, name):
        return _checked(Composition(opened, name, asked), judge, mended)


def _checked(composition: Composition, judge: Judge, mended: Container[str]) -> Recipe:
    recipe, problems = composition.recipe()
    if recipe is None or problems:
        found = answered(composition, problems, judge)
        raise RecipeError(composition.located([p for p in found if p.code not in mended]))
    broken = tuple(each for each in violations(recipe) if each.code not in mended)
    if broken:
        raise RecipeError(composition.located(with_repairs(recipe, broken, judge)))
    return recipe


@contextmanager
def _opened(path: SearchPath, recipe: str) -> Iterator[tuple[SearchPath, str]]:
    """Hydra initialised on the folder of ``recipe``, which is a name or a path."""
    file = recipe_file(recipe, path)
    if file.parent not in path.folders:
        path = SearchPath(folders=(file.parent, *path.folders))
    with TemporaryDirectory() as folder:
        if path.folders[0] != file.parent:
            # Hydra looks for the recipe itself in one folder, and only then searches.
            (Path(folder) / file.name).symlink_to(file)
            path = SearchPath(folders=(Path(folder), *path.folders))
        with (
            initialize_config_dir(str(path.folders[0]), version_base="1.3"),
            _without_environment(),
        ):
            yield path, file.stem


@contextmanager
def _without_environment() -> Iterator[None]:
    """No ``${oc.env:…}`` while composing: Hydra resolves a defaults list before we see it."""
    OmegaConf.clear_resolver("oc.env")
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env)
