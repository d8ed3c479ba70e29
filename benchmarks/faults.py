"""Every fault, really made: ``python -m benchmarks.faults [--only PATTERN] [--json | --write]``.

gpt-tiny trains over two nodes × two ranks of a real Slurm on this machine (root; tests/slurm), one
fault a run. ``--beds 2`` makes two at a time, each on a Slurm of its own. The table says what
became of each; ``--write`` puts its rows into docs/faults.md.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import psutil

from tests.system.conftest import Bed, bed_of, brought_up
from tests.system.faults import FAULTS, Fault
from tests.system.playing import Outcome, play, without_a_fault

DOCS = Path(__file__).parents[1] / "docs" / "faults.md"
BEGIN, END = "<!-- table: python -m benchmarks.faults --write -->", "<!-- end -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A fault that was made."""

    fault: Fault
    """Which."""
    outcome: Outcome | None
    """What became of it; None: it could not be made, or not be waited for."""
    trouble: str = ""
    """Why."""

    @property
    def held(self) -> bool:
        """Whether everything is as it must be."""
        return self.outcome is not None and not self.outcome.wrong

    def row(self) -> tuple[str, ...]:
        """For the table."""
        found = self.outcome
        if found is None:
            return (self.fault.name, "not made", "", "", "", self.trouble)
        seconds = "" if found.seconds is None else f"{found.seconds:.0f} s"
        verdict = "as it must" if self.held else "; ".join(found.wrong)
        lives, again = str(found.lives), str(found.again)
        return (self.fault.name, verdict, lives, again, seconds, found.cause)


Slurm = tuple[dict[str, str], dict[tuple[str, ...], dict[int, float]]]
"""Environment of a test-bed, and the losses of runs without a fault there, by shape."""


def made(folder: Path, only: str, beds: int) -> Iterator[Made]:
    """Each fault; on so many test-beds at once."""
    free = SimpleQueue[Slurm]()

    def make(number: int, fault: Fault) -> Made:
        slurm, losses = free.get()
        bed = bed_of(slurm, folder / str(number))
        bed.folder.mkdir()
        try:
            return attempt(bed, fault, losses)
        finally:
            free.put((slurm, losses))

    asked = [each for each in enumerate(FAULTS) if re.search(only, each[1].name)]
    with ExitStack() as stack, ThreadPoolExecutor(beds) as pool:
        for _ in range(beds):
            free.put((stack.enter_context(brought_up()), {}))
        for done in as_completed([pool.submit(make, *each) for each in asked]):
            yield done.result()


def attempt(bed: Bed, fault: Fault, losses: dict[tuple[str, ...], dict[int, float]]) -> Made:
    """One fault; what goes wrong on the way is an answer too. ``losses`` by shape, once made."""
    try:
        if fault.shape not in losses:
            losses[fault.shape] = without_a_fault(bed, fault.shape)
            shutil.rmtree(bed.folder / "outputs")
        return Made(fault=fault, outcome=play(bed, fault, losses[fault.shape]))
    except (AssertionError, OSError, ValueError, psutil.Error) as error:
        return Made(fault=fault, outcome=None, trouble=str(error).partition("\n")[0])


HEAD = ("fault", "outcome", "lives", "steps again", "to the next step", "`why` says of the first")


def table(rows: list[Made]) -> list[str]:
    """Lines of Markdown."""
    return [shown(line) for line in (HEAD, ("---",) * len(HEAD), *(each.row() for each in rows))]


def shown(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def write(each: Made) -> None:
    """Put its row into the table of the docs, in the place of the one that is there."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in old.split("\n")[3:-1]}
    rows[each.fault.name] = shown(each.row())
    known = [rows[fault.name] for fault in FAULTS if fault.name in rows]
    text = "\n".join([*table([]), *known])
    DOCS.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Make them all; 1 if one has another outcome than it must."""
    parser = argparse.ArgumentParser(prog="benchmarks.faults", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name matches")
    parser.add_argument("--json", action="store_true", help="one JSON array on stdout")
    parser.add_argument("--write", action="store_true", help="write the table into docs/faults.md")
    parser.add_argument("--beds", type=int, default=1, help="test-beds that are used at once")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for each in made(Path(folder), asked.only, asked.beds):
            print(" | ".join(each.row()), file=sys.stderr, flush=True)
            rows.append(each)
            if asked.write:
                write(each)
    if asked.json:
        print(json.dumps([dict(zip(HEAD, each.row(), strict=True)) for each in rows]))
    else:
        print("\n".join(table(rows)))
    return 0 if all(each.held for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
