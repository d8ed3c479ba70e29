"""YAML that ships or that a user gave, read fast."""

from typing import Any

import yaml

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader, in C where PyYAML was built with it."""


def read_yaml(text: str) -> Any:
    """What ``text`` says.

    Raises:
        yaml.YAMLError: if it is no YAML.
    """
    return yaml.load(text, Loader=LOADER)
