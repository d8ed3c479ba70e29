"""Packages that only some kinds of data need."""

from importlib import import_module
from typing import Any

from llmtrain.config.errors import LaunchError, Problem


def extra(package: str, what: str) -> Any:
    """The module ``package``, which ``what`` needs.

    Raises:
        LaunchError: if it is not installed, with what to install.
    """
    try:
        return import_module(package)
    except ImportError as error:
        says = f"{what} needs {package}, which cannot be imported: {error}"
        hint = f"pip install {package}, or pip install 'llmtrain[data]' for all kinds of data"
        raise LaunchError(Problem(code="missing_package", says=says, hint=hint)) from error
