"""The probe of the environment, by itself."""

import json
from pathlib import Path

import pytest

from llmtrain.launchers import probe

ASKED = [{"name": "A", "value": "1"}, {"name": "B", "value": "x,y"}]


def test_agreement_is_recorded() -> None:
    """Every variable with both values."""
    records = probe.compare(ASKED, {"A": "1", "B": "x,y", "C": "3"})

    assert [record["changed_by"] for record in records] == [None, None]


def test_the_image_is_found_out(tmp_path: Path) -> None:
    """Where the image's own file of variables has the value that is there."""
    file = tmp_path / "environment"
    file.write_text('export A="2"\n')

    assert probe.changed_by("A", "2", (str(file),)) == f"the image ({file})"
    assert probe.changed_by("A", "3", (str(file),)).startswith("the node")
    assert probe.changed_by("A", None).startswith("dropped")


@pytest.mark.parametrize(("policy", "status"), [("fail", 5), ("warn", 0)])
def test_a_difference_fails_or_warns(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    policy: str,
    status: int,
) -> None:
    """It is written for this node either way; a secret is looked for and not written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env.json").write_text(json.dumps(ASKED))
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    monkeypatch.setenv("A", "2")
    monkeypatch.setenv("B", "x,y")
    monkeypatch.setenv("HF_TOKEN", "tr0ub4dor")

    assert probe.main([policy, "HF_TOKEN"]) == status

    text = (tmp_path / "logs" / "node7" / "environment.json").read_text()
    assert not json.loads(text)["ok"] and "tr0ub4dor" not in text
    assert "node7: A: asked '1', is '2'" in capsys.readouterr().err
