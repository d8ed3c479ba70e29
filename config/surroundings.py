"""A cluster and a site without a recipe: ``cluster=NAME [site=NAME]``."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from llmtrain.config.build import build
from llmtrain.config.composition import HYDRA_ERRORS
from llmtrain.config.errors import Problem, RecipeError, UsageError
from llmtrain.config.overrides import key, parse_arguments
from llmtrain.config.place import Cluster
from llmtrain.config.search import SearchPath, search_path, unknown_option
from llmtrain.config.site import Site


def surroundings(arguments: Sequence[str], folders: Sequence[Path] = ()) -> tuple[Cluster, Site]:
    """The cluster that ``cluster=`` names, and the site; changes to their keys are allowed.

    Raises:
        UsageError: if there is no cluster, or an argument that needs a recipe.
        RecipeError: if one of them does not exist or is not valid.
    """
    overrides = parse_arguments(arguments).overrides
    named = {key(override) for override in overrides}
    others = [name for name in named if name.partition(".")[0] not in ("cluster", "site")]
    if "cluster" not in named or others:
        hint = "say `recipe=NAME`, or `cluster=NAME` with `site=NAME` alone"
        raise UsageError(f"{others[0] if others else 'this'} needs a recipe", hint=hint)
    path = search_path(folders)
    missing = [problem for o in overrides if (problem := _missing(o, path))]
    if missing:
        raise RecipeError(missing)
    data = _data(list(_lines(overrides, path)), path)
    return build(Cluster, data.get("cluster")), build(Site, data.get("site"))


def _missing(override: Override, path: SearchPath) -> Problem | None:
    group, name = key(override), str(override.value())
    if group not in ("cluster", "site") or name in path.options(group):
        return None
    return unknown_option(group, group, name, list(path.options(group)))


def _lines(overrides: Sequence[Override], path: SearchPath) -> Iterator[str]:
    folders = ",".join(f'"file://{folder}"' for folder in path.folders[1:])
    if folders:
        yield f"hydra.searchpath=[{folders}]"
    if all(key(override) != "site" for override in overrides):
        yield "+site=none"
    for override in overrides:
        text = str(override.input_line).lstrip("+")
        yield f"+{text}" if key(override) in ("cluster", "site") else f"++{text}"


def _data(lines: list[str], path: SearchPath) -> dict[str, object]:
    try:
        with initialize_config_dir(str(path.folders[0]), version_base="1.3"):
            found = OmegaConf.to_container(hydra_compose(None, lines), resolve=True)
    except HYDRA_ERRORS as error:
        raise RecipeError(str(error).splitlines()[0]) from error
    return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}
