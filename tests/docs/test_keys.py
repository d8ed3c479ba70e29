"""The page of recipe keys."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_recipe_keys_is_what_the_dataclasses_say() -> None:
    """docs/recipes.md was written from today's dataclasses (else: python docs/keys.py)."""
    written = runpy.run_path(str(DOCS / "keys.py"))["document"]()

    assert (DOCS / "recipes.md").read_text(encoding="utf-8") == written
