"""The environment as other programs read it: a shell, enroot, docker, apptainer."""

import json
import shlex
from collections.abc import Callable, Mapping

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.launchers.launch import Variable

Variables = tuple[Variable, ...]


def export(variables: Variables) -> str:
    """Lines for a shell."""
    return "".join(f"export {each.name}={shlex.quote(each.value)}\n" for each in variables)


def as_json(variables: Variables) -> str:
    """Values by name."""
    return json.dumps({each.name: each.value for each in variables}, indent=2) + "\n"


def docker(variables: Variables) -> str:
    """A file for ``docker run --env-file``, which takes each line as it stands."""
    _require_lines(variables)
    return "".join(f"{each.name}={each.value}\n" for each in variables)


def enroot(variables: Variables) -> str:
    """A file for ``environ.d``. enroot expands variables in it, so none may be there."""
    _require_lines(variables)
    problems = [
        Problem(code="unwritable", key=each.name, says="has a `$`, which enroot would expand")
        for each in variables
        if "$" in each.value
    ]
    if problems:
        raise LaunchError(problems)
    return docker(variables)


def apptainer(variables: Variables) -> str:
    """A file for ``apptainer exec --env-file``, which is read as shell."""
    return "".join(f"{each.name}={shlex.quote(each.value)}\n" for each in variables)


FORMS: Mapping[str, Callable[[Variables], str]] = {
    "export": export,
    "json": as_json,
    "enroot": enroot,
    "docker": docker,
    "apptainer": apptainer,
}
"""By the word of ``--format``."""


def _require_lines(variables: Variables) -> None:
    problems = [
        Problem(code="unwritable", key=each.name, says="has a line's end, which an env file cannot")
        for each in variables
        if "\n" in each.value
    ]
    if problems:
        raise LaunchError(problems)
