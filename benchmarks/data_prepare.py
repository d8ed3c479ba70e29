"""MB a second of `llmtrain data prepare` against a bare tokenizer loop over the same file.

``python -m benchmarks.data_prepare [--json]`` makes .jsonl of the Python library's sources and
trains a BPE tokenizer on it. Then both sides take turns, each in a process of its own: the loop
reads lines, parses them and encodes them in batches, and throws the tokens away; ``data prepare``
does the same, writes the pair, counts and checks, with as many processes as are asked for. The
start of Python and the imports are in both. The aim is a ratio of 0.9 and more for one process.
On a machine that others use too, the ratio of processor time says more than that of the clock.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

COMMAND = str(Path(sys.executable).with_name("llmtrain"))

BARE = """
import json, os, sys
os.environ["TOKENIZERS_PARALLELISM"] = "false"
name, path = sys.argv[1:]
if name != "bytes":
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(name)
def encode(texts):
    if name == "bytes":
        return [text.encode() for text in texts]
    return [each.ids for each in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
texts, size, tokens = [], 0, 0
for line in open(path, encoding="utf-8"):
    texts.append(json.loads(line)["text"])
    size += len(line)
    if size > 2**20:
        tokens += sum(map(len, encode(texts)))
        texts, size = [], 0
tokens += sum(map(len, encode(texts)))
print(tokens)
"""
"""What anybody would write first."""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="benchmarks.data_prepare", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=40, help="of input")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tokenizer", choices=("bpe", "bytes"), default="bpe")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file = corpus(Path(name), given.megabytes * 1_000_000)
        tokenizer = str(trained(file)) if given.tokenizer == "bpe" else "bytes"
        score = measure(file, tokenizer, given.rounds, given.workers)
    print(json.dumps(score) if given.json else describe(score))


def corpus(folder: Path, size: int) -> Path:
    """A .jsonl of at least ``size`` bytes; the sources come again where they are too few."""
    sources = sorted(Path(json.__file__).parents[1].rglob("*.py"))
    file, written = folder / "text.jsonl", 0
    with file.open("w", encoding="utf-8") as out:
        while written < size:
            for source in sources:
                text = source.read_bytes().decode(errors="replace").replace("\0", "")
                written += out.write(json.dumps({"text": text}) + "\n") if text else 0
                if written >= size:
                    break
    return file


def trained(file: Path) -> Path:
    """A BPE tokenizer of 8,000 tokens, of the first lines of ``file``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=8000, special_tokens=["<|endoftext|>"], show_progress=False
    )
    with file.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(200), lines, strict=False)]
    tokenizer.train_from_iterator(texts, trainer)
    target = file.with_name("tokenizer.json")
    tokenizer.save(str(target))
    return target


def measure(file: Path, tokenizer: str, rounds: int, workers: int) -> dict[str, Any]:
    """Both sides in turn; who begins changes."""
    output = file.with_name("out")

    def prepare() -> int:
        shutil.rmtree(output, ignore_errors=True)
        options = ["--tokenizer", tokenizer, "--workers", str(workers), "--json", "--end", "none"]
        words = [COMMAND, "data", "prepare", str(file), "-o", str(output / "set"), *options]
        return int(json.loads(run(words))["tokens"])

    def bare() -> int:
        return int(run([sys.executable, "-c", BARE, tokenizer, str(file)]))

    found: list[tuple[Side, Side]] = []
    for turn in range(rounds):
        sides = [timed(side) for side in ((prepare, bare) if turn % 2 else (bare, prepare))]
        ours, theirs = sides if turn % 2 else sides[::-1]
        if ours.tokens != theirs.tokens:
            raise SystemExit(f"data prepare made {ours.tokens} tokens, the loop {theirs.tokens}")
        found.append((ours, theirs))
    about = {"tokenizer": tokenizer if tokenizer == "bytes" else "bpe", "workers": workers}
    return about | summary(found, file.stat().st_size / 1e6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One side of a round."""

    seconds: float
    """Wall clock."""
    processor_seconds: float
    """Of all its processes."""
    tokens: int
    """Made."""


def run(words: list[str]) -> str:
    """What a program prints."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def timed(side: Callable[[], int]) -> Side:
    """What a side takes, and what comes of it."""
    started, used = time.perf_counter(), processor_seconds()
    tokens = side()
    return Side(
        seconds=time.perf_counter() - started,
        processor_seconds=processor_seconds() - used,
        tokens=tokens,
    )


def processor_seconds() -> float:
    """Of all processes that were started from here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def summary(found: list[tuple[Side, Side]], megabytes: float) -> dict[str, Any]:
    """Speeds and ratios from each round, ours first."""
    return {
        "megabytes": megabytes,
        "prepare_mb_per_second": megabytes / median(ours.seconds for ours, _ in found),
        "bare_mb_per_second": megabytes / median(theirs.seconds for _, theirs in found),
        "ratio": median(theirs.seconds / ours.seconds for ours, theirs in found),
        "processor_ratio": median(
            theirs.processor_seconds / ours.processor_seconds for ours, theirs in found
        ),
        "rounds": len(found),
    }


def describe(score: dict[str, Any]) -> str:
    """The score in words."""
    speeds = [f"{score[f'{side}_mb_per_second']:.1f} MB/s" for side in ("prepare", "bare")]
    return (
        f"data prepare {speeds[0]} with {score['workers']} processes, bare loop {speeds[1]}, "
        f"ratio {score['ratio']:.3f}, of processor time {score['processor_ratio']:.3f} "
        f"({score['tokenizer']}, {score['megabytes']:.0f} MB, median of {score['rounds']} rounds)"
    )


if __name__ == "__main__":
    main()
