"""Where recipes and their groups are looked for."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import llmtrain.recipes
from llmtrain.config.errors import Problem, RecipeError
from llmtrain.config.home import expanded


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPath:
    """Folders of recipes, the first wins. The current directory is never one by itself."""

    folders: tuple[Path, ...]
    """Existing folders, each laid out like the package's ``recipes/``."""

    def recipes(self) -> dict[str, Path]:
        """Every complete run by name; ``base`` is not one."""
        return {name: path for name, path in self._files("").items() if name != "base"}

    def groups(self) -> tuple[str, ...]:
        """Names of the groups: model, cluster, site, …"""
        names = {
            child.name
            for folder in self.folders
            for child in folder.iterdir()
            if child.is_dir() and any(child.glob("*.yaml"))
        }
        return tuple(sorted(names))

    def options(self, group: str) -> dict[str, Path]:
        """The choices of ``group`` by name."""
        return self._files(group)

    def find(self, config: str) -> Path | None:
        """The file of a config such as ``model/gpt3-175b``, in the folder that wins."""
        candidates = (folder / f"{config}.yaml" for folder in self.folders)
        return next((path for path in candidates if path.is_file()), None)

    def _files(self, group: str) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted((folder / group).glob("*.yaml")):
                found.setdefault(path.stem, path)
        return dict(sorted(found.items()))


def search_path(extra: Sequence[Path] = ()) -> SearchPath:
    """``--recipes DIR``, LLMTRAIN_RECIPES, ~/.config/llmtrain, /etc/llmtrain, the package.

    Raises:
        RecipeError: if a folder that was named (not a default one) does not exist.
    """
    named = [*extra, *_from_environment()]
    for folder in named:
        if not folder.is_dir():
            raise RecipeError(f"there is no folder of recipes {folder}")
    folders = [*named, *(folder for folder in _default_folders() if folder.is_dir())]
    return SearchPath(folders=tuple(folder.resolve() for folder in folders))


def _from_environment() -> Iterator[Path]:
    listed = os.environ.get("LLMTRAIN_RECIPES", "")
    return (expanded(folder) for folder in listed.split(os.pathsep) if folder)


def user_folder() -> Path:
    """``~/.config/llmtrain``: what the user's own machine knows."""
    named = os.environ.get("XDG_CONFIG_HOME")
    return (Path(named) if named else expanded("~/.config")) / "llmtrain"


def _default_folders() -> Iterator[Path]:
    yield user_folder()
    yield Path("/etc/llmtrain")
    yield Path(llmtrain.recipes.__path__[0])


def recipe_file(recipe: str, path: SearchPath) -> Path:
    """The file of a recipe that is named or given as a path.

    Raises:
        RecipeError: if there is none.
    """
    if recipe.endswith(".yaml") or "/" in recipe:
        file = expanded(recipe).resolve()
        if file.is_file() and file.suffix == ".yaml":
            return file
        says = f"there is no file {recipe}" if not file.is_file() else f"{recipe} is not a .yaml"
        raise RecipeError(Problem(code="unknown_recipe", says=says))
    known = path.recipes()
    if recipe in known:
        return known[recipe]
    raise RecipeError(unknown_option("recipe", "recipe", recipe, list(known)))


def unknown_option(kind: str, key: str, name: str, valid: Sequence[str]) -> Problem:
    """The answer to a recipe, model, cluster, … that does not exist."""
    close = get_close_matches(name, valid, n=3, cutoff=0.5)
    meant = f"Did you mean {' or '.join(f'`{key}={item}`' for item in close)}? " if close else ""
    return Problem(
        code=f"unknown_{kind.replace(' ', '_')}",
        key=key,
        says=f"= {name!r} does not exist",
        hint=f"{meant}{kind}s: {', '.join(valid)}",
    )
