"""What recipes there are, without composing them."""

from pathlib import Path

import pytest

from llmtrain.config.catalog import catalog
from llmtrain.config.compose import compose
from llmtrain.config.search import SearchPath, search_path


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes, and no others of the user's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("LLMTRAIN_RECIPES", raising=False)
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def test_an_entry_says_what_the_recipe_says(mine: Path) -> None:
    for entry in catalog(search_path()):
        recipe = compose([f"recipe={entry.name}"])

        assert (recipe.name, recipe.description, recipe.source) == (
            *(entry.name, entry.description, entry.source),
        )
        assert (recipe.gpus, recipe.cluster.name) == (entry.gpus, entry.cluster)
        assert entry.backend == recipe.backend.name
        assert entry.as_json()["path"] == str(entry.path)


def test_the_first_folder_wins_and_base_is_no_recipe(mine: Path) -> None:
    (mine / "gpt-tiny.yaml").write_text("description: mine\n")
    (mine / "base.yaml").write_text("description: no recipe\n")
    entries = {entry.name: entry for entry in catalog(search_path([mine]))}

    assert entries["gpt-tiny"].description == "mine"
    assert entries["gpt-tiny"].path == mine / "gpt-tiny.yaml"
    assert "base" not in entries


@pytest.mark.parametrize("text", ["a: [", "- a", "defaults: x", "gpus: many", "\x00", "\xff"])
def test_a_broken_file_is_listed_by_its_name(mine: Path, text: str) -> None:
    (mine / "broken.yaml").write_text(text, encoding="latin-1")
    (entry,) = catalog(SearchPath(folders=(mine,)))

    assert (entry.name, entry.description, entry.gpus, entry.model) == ("broken", "", None, "")


def test_a_choice_that_overrides_is_the_one_listed(mine: Path) -> None:
    text = "defaults: [base, model: gpt-tiny, override cluster: local-cpu, _self_]\n"
    (mine / "some.yaml").write_text(text)
    (entry,) = catalog(SearchPath(folders=(mine,)))

    assert (entry.model, entry.cluster) == ("gpt-tiny", "local-cpu")
