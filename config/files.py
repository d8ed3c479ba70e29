"""Recipes as files: a resolved recipe is plain YAML that needs no composition."""

from pathlib import Path

import yaml

from llmtrain.config.build import build, plain
from llmtrain.config.errors import RecipeError
from llmtrain.config.recipe import Recipe


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML; :func:`read_recipe` reads it back to the same value."""
    return yaml.safe_dump(plain(recipe), sort_keys=False, allow_unicode=True, width=100)


def read_recipe(path: Path) -> Recipe:
    """Read a resolved recipe.

    Raises:
        RecipeError: if the file cannot be read or says something that is not a recipe.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"cannot read {path}: {error}") from error
    return build(Recipe, data)
