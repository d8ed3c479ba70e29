"""Digests of a run's files, as ``sha256sum`` writes and reads them."""

import hashlib
from collections.abc import Mapping


def sums(files: Mapping[str, str]) -> str:
    """One line for each file, sorted by name."""
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
