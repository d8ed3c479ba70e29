"""Paths as users write them."""

import os
from pathlib import Path


def expanded(path: str) -> Path:
    """``path`` with ``~`` as a home; where that home is not known it stays as it is written.

    :meth:`pathlib.Path.expanduser` raises there, which would be a traceback for a name mistyped.
    """
    return Path(os.path.expanduser(path))
