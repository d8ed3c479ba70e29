"""The standard library as training data: exact, made once, never half."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(Transformer Engine|Apex|full scope).*:UserWarning"
)

PREPARE = "import sys; from pathlib import Path; from llmtrain.trainer.corpus import prepare;"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A small library with things that must be left out."""
    files = {
        "b.py": b"b = '\xc3\xa9'\n",
        "a.py": b"a = 1\n",
        "empty.py": b"",
        "notes.txt": b"not Python",
        "test/test_a.py": b"left out",
        "site-packages/x.py": b"left out",
    }
    for name, content in files.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "library"


def documents(prefix: Path) -> list[bytes]:
    """The documents as megatron-core reads them."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    dataset = IndexedDataset(str(prefix))
    return [np.asarray(dataset[number]).tobytes() for number in range(len(dataset))]


def test_the_bytes_come_back(tmp_path: Path, sources: Path) -> None:
    """Each source file is one document: its bytes and an end, in the order of the names."""
    from llmtrain.trainer.corpus import prepare

    prefix = prepare(tmp_path / "cache", sources)

    assert documents(prefix) == [b"a = 1\n\0", "b = 'é'\n\0".encode(), b"\0"]


def test_the_real_library_has_no_end_inside() -> None:
    """No file of this Python holds the byte that ends a document, and there is enough to learn."""
    from llmtrain.trainer.corpus import library

    texts = [path.read_bytes() for path in library(Path(subprocess.__file__).parent)]

    assert not any(b"\0" in text for text in texts)
    assert sum(map(len, texts)) > 5_000_000


def test_other_sources_are_other_data(tmp_path: Path, sources: Path) -> None:
    """When a file changes, the prepared data is made again under another name."""
    from llmtrain.trainer.corpus import prepare

    before = prepare(tmp_path / "cache", sources)
    (sources / "a.py").write_bytes(b"a = 2\n")

    assert prepare(tmp_path / "cache", sources) != before


def test_a_killed_preparation_is_done_again(tmp_path: Path, sources: Path) -> None:
    """A .bin without its .idx, and partial files, are what a kill leaves; they are not used."""
    from llmtrain.trainer.corpus import index, prepare

    prefix = prepare(tmp_path / "cache", sources)
    whole = documents(prefix)
    index(prefix).unlink()
    Path(f"{prefix}.bin").write_bytes(b"half")
    Path(f"{prefix}.partial.bin").write_bytes(b"less")

    assert documents(prepare(tmp_path / "cache", sources)) == whole


def test_a_second_process_waits_for_the_first(tmp_path: Path, sources: Path) -> None:
    """While one process holds the lock another does not write; afterwards it does."""
    from llmtrain.trainer.corpus import index, prepare

    prefix = prepare(tmp_path / "cache", sources)
    index(prefix).unlink()
    asked = f"{PREPARE} print('ready', flush=True); prepare(Path(sys.argv[1]), Path(sys.argv[2]))"
    with FileLock(f"{prefix}.lock"):
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", asked, str(tmp_path / "cache"), str(sources)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        assert process.poll() is None
        assert not index(prefix).exists()

    process.communicate(timeout=90)
    assert process.returncode == 0
    assert len(documents(prefix)) == 3
