"""The logs of a run, whole and as they grow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrain.config.errors import RunError
from llmtrain.runs.logs import follow_lines, label, lines, log_files, require_logs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Logs of eleven ranks on two nodes, and the launcher's."""
    for rank in range(11):
        path = tmp_path / "logs" / f"node-{rank // 8}" / f"rank-{rank}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"hello from {rank}\n")
    (tmp_path / "logs" / "launcher.log").write_text("starting\n")
    (tmp_path / "logs" / "node-0" / "other.log").touch()
    return tmp_path


def test_the_launcher_first_then_the_ranks_by_number(folder: Path) -> None:
    """Rank 10 comes after rank 9."""
    names = ["launcher", *(f"rank-{rank}" for rank in range(11))]

    assert [label(path) for path in log_files(folder)] == names
    assert [label(path) for path in require_logs(folder, 10)] == ["rank-10"]


@pytest.mark.parametrize(
    ("rank", "says"), [(11, "{} has no log of rank 11"), (1, "{} has no log of rank 1")]
)
def test_a_log_that_is_not_there(tmp_path: Path, rank: int, says: str) -> None:
    """It is named."""
    with pytest.raises(RunError) as refused:
        require_logs(tmp_path, rank)

    assert refused.value.problems[0].message == says.format(tmp_path.name)


def test_no_log_at_all(tmp_path: Path) -> None:
    """Nothing was started yet."""
    with pytest.raises(RunError, match=r"has no log$"):
        require_logs(tmp_path)


def test_lines(tmp_path: Path) -> None:
    """Line by line, without their ends; bytes that are no text are shown as such."""
    path = tmp_path / "rank-0.log"
    path.write_bytes("é\r\n\nb\xff\nlast".encode("latin-1").replace(b"\xe9", "é".encode()))

    assert [line for _, line in lines([path])] == ["é", "", "b\ufffd", "last"]


def test_following(tmp_path: Path) -> None:
    """Lines come when they are whole, also of logs that are opened later, until the end."""
    first, second = tmp_path / "rank-0.log", tmp_path / "rank-1.log"
    first.touch()
    writes = iter(
        [
            (first, b"a\nhal"),
            (first, "f ×".encode()[:-1]),
            (first, "×\n".encode()[1:]),
            (second, b"b\n"),
            (second, b"the end"),
        ]
    )

    def living() -> bool:
        path, data = next(writes, (None, b""))
        if path is None:
            return False
        with path.open("ab") as file:
            file.write(data)
        return True

    def paths() -> list[Path]:
        return sorted(tmp_path.glob("*.log"))

    shown: Iterator[tuple[Path, str]] = follow_lines(paths, living, pause=0)

    assert [(label(path), line) for path, line in shown] == [
        ("rank-0", "a"),
        ("rank-0", "half ×"),
        ("rank-1", "b"),
        ("rank-1", "the end"),
    ]


def test_following_waits_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asks whether the run lives before each of them."""
    answers: list[bool] = [True, True, False]
    pauses: list[float] = []
    monkeypatch.setattr("llmtrain.runs.logs.time.sleep", pauses.append)

    assert list(follow_lines(list, lambda: answers.pop(0), pause=0.5)) == []
    assert (pauses, answers) == ([0.5, 0.5], [])
