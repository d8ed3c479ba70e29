"""The linter: each setting by itself, then all of them together and with the program's arguments.

It is silent on what it does not know: another family's names, values that only the run knows, and
names of NCCL where AMD's RCCL reads them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any

from llmtrain.config.yaml_reader import read_yaml
from llmtrain.launchers.fabric.conflicts import Facts, conflicts, facts_of
from llmtrain.launchers.fabric.findings import ORDER, Finding
from llmtrain.launchers.fabric.forwarding import not_forwarded
from llmtrain.launchers.fabric.known import Known, is_closed, known, near, slip
from llmtrain.launchers.fabric.values import in_words, may_be
from llmtrain.launchers.scripts.document import Document
from llmtrain.launchers.scripts.script import Setting

_RCCL = re.compile(r"\b(RCCL|HSA|HIP|ROCM|MIOPEN|ROCR)_\w|\b(rocm|rccl|amdgpu)\b|NCCL_IB_HCA=rdma")
"""What a file for AMD's GPUs has in it."""

_MEASURES = re.compile(
    r"\b(all_reduce|all_gather|reduce_scatter|alltoall|sendrecv|broadcast|hypercube)_perf\b|"
    r"\b(\w+_bench|nccl-tests|osu_\w+|IMB-\w+|ib_(write|read|send)_(bw|lat)|nccom-test)\b|"
    r"\bbench\w*[_/](nccl|rccl|allreduce|all_reduce)\b"
)
"""What runs in a file that measures or tests links: nobody trains in it."""

_BUILD = ("_PATH", "_DIR", "_HOME", "_ROOT", "_CONTAINER", "_IMAGE", "_VERSION", "_TAG", "_URL")
"""How names of a build or of a script's own end."""

_PHYSICAL = ("NCCL_IB_TIMEOUT", "NCCL_IB_RETRY_CNT")
"""Fields of InfiniBand itself: their range does not depend on who reads them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A release of NCCL, to compare by."""

    numbers: tuple[int, ...]
    """For example 2, 21, 5."""

    @classmethod
    def parse(cls, text: str) -> "Version | None":
        """``2.21.5``; None if it is no version."""
        found = re.fullmatch(r"v?(\d+(?:\.\d+)+)(?:-\d+)?", text)
        return cls(numbers=tuple(map(int, found[1].split(".")))) if found else None

    def before(self, other: str) -> bool:
        """Whether this is older than ``other``; False where that is no version of NCCL."""
        theirs = Version.parse(other)
        return theirs is not None and self.numbers < theirs.numbers


def lint(
    document: Document, *, nccl: Version | None = None, facts: Facts | None = None
) -> tuple[Finding, ...]:
    """What is wrong with the settings of ``document``, by line.

    Args:
        document: what was read.
        nccl: the release that will read them; None: the newest that is known.
        facts: what the program's arguments say; None: those in the document itself.
    """
    amd = bool(_RCCL.search(document.text))
    told = [s for s in document.settings if s.exported or _meant_to_be(s, document)]
    checked = [s for s in told if not (_own(s.name) and _used(s.name, document.text))]
    found = [finding for setting in checked for finding in _alone(setting, nccl, amd)]
    found += [finding for setting in checked for finding in _cautions(setting, document.text)]
    found += _not_exported(document)
    found += conflicts(told, facts or facts_of(document))
    found += not_forwarded(document)
    unique = {(each.code, each.name, each.line, each.says): each for each in found}
    order = sorted(unique.values(), key=lambda f: (f.line, ORDER.index(f.severity), f.name))
    return tuple(order)


def _own(name: str) -> bool:
    """Whether no library reads the name, so that only the file could."""
    fact = known().get(name)
    return fact is None or fact.status == "wrong"


def _used(name: str, text: str) -> bool:
    """Whether the file itself reads the variable, as it does its own."""
    return bool(re.search(rf"\$\{{?{re.escape(name)}\b", text))


def _meant_to_be(setting: Setting, document: Document) -> bool:
    """Whether a plain assignment reaches programs after all."""
    return any(setting.name in script.exported for script in document.scripts)


def _alone(setting: Setting, nccl: Version | None, amd: bool) -> Iterator[Finding]:
    """What can be told of a setting by itself."""
    fact = known().get(setting.name)
    if fact is None:
        if not amd:
            yield from _unknown(setting)
        return
    if not amd:
        yield from _status(setting, fact, nccl)
    if setting.value is None:
        return
    if not may_be(setting.value, fact.values) and (not amd or setting.name in _PHYSICAL):
        yield _outside(setting, fact)


def _unknown(setting: Setting) -> Iterator[Finding]:
    name = setting.name
    meant = slip(name)
    if is_closed(name) and name.endswith(_BUILD) and not meant:
        return
    if is_closed(name):
        close = (meant,) if meant else near(name)
        family = "torch" if name.startswith("TORCH_") else "NCCL or a plugin of it"
        yield Finding(
            code="misspelt" if close else "unknown",
            severity="error" if close else "warning",
            line=setting.line,
            name=name,
            says=f"{name} is not a variable of {family}: nothing reads it",
            hint=f"did you mean {' or '.join(close)}?" if close else "",
        )
    elif meant:
        yield Finding(
            code="misspelt",
            severity="error",
            line=setting.line,
            name=name,
            says=f"{name} is probably a slip for {meant}",
            hint=f"did you mean {meant}?",
        )


def _status(setting: Setting, fact: Known, nccl: Version | None) -> Iterator[Finding]:
    found = partial(Finding, line=setting.line, name=fact.name, source=fact.source)
    instead = f"use {fact.instead}" if fact.instead else "leave it out"
    if fact.status == "wrong":
        says = f"{fact.name} is not read by anything: {_lower(fact.says)}"
        yield found(code="misspelt", severity="error", says=says, hint=instead)
    elif fact.status in ("old", "gone") and not (nccl and nccl.before(fact.since)):
        when = f" since {_release(fact)}" if fact.since else ""
        state = "is no longer read" if fact.status == "gone" else "is out of date"
        harmless = fact.status == "old" and not fact.instead
        yield found(
            code="stale" if harmless else "obsolete",
            severity="note" if harmless else "warning",
            says=f"{fact.name} {state}{when}",
            hint=instead,
        )
    elif nccl and fact.of == "NCCL" and fact.first and nccl.before(fact.first):
        says = f"{fact.name} came with NCCL {fact.first}: this release does not read it"
        yield found(code="too_new", severity="warning", says=says)


def _release(fact: Known) -> str:
    return fact.since if not fact.since[:1].isdigit() else f"{fact.of} {fact.since}"


def _outside(setting: Setting, fact: Known) -> Finding:
    more = f": {fact.outside}" if fact.outside else ""
    as_zero = fact.values in ("int", "0|1", "0|1|2") and str(setting.value)[:1].isalpha()
    if as_zero and fact.name.startswith("NCCL_"):
        more = ": NCCL reads a word as 0"
    return Finding(
        code="range",
        severity="error",
        line=setting.line,
        name=fact.name,
        says=f"{fact.name}={setting.value} is out of range{more}",
        hint=f"valid: {in_words(fact.values)}" + (f"; default {fact.default}" * bool(fact.default)),
        source=fact.source,
    )


@cache
def _caution_data() -> Mapping[str, list[dict[str, Any]]]:
    path = files("llmtrain.launchers.fabric") / "cautions.yaml"
    found: dict[str, list[dict[str, Any]]] = {}
    for each in read_yaml(path.read_text(encoding="utf-8")):
        found.setdefault(each["name"], []).append(each)
    return found


def _cautions(setting: Setting, text: str) -> Iterator[Finding]:
    """Values that are right at times; ``text`` is the file, which may be such a time."""
    measures = _MEASURES.search(text) is not None
    for each in _caution_data().get(setting.name, ()) if setting.value is not None else ():
        if (measures and each["code"] == "debug") or re.search(each.get("unless", "(?!)"), text):
            continue
        if any(re.fullmatch(p, setting.value or "", re.IGNORECASE) for p in each["values"]):
            yield Finding(
                code=each["code"],
                severity=each["severity"],
                line=setting.line,
                name=setting.name,
                says=f"{setting.name}={setting.value}: {each['why']}",
                source=each["source"],
            )


def _not_exported(document: Document) -> Iterator[Finding]:
    """Known names that a script only sets for itself."""
    if document.kind != "shell":
        return
    for setting in document.settings:
        if setting.exported or setting.name not in known() or _meant_to_be(setting, document):
            continue
        uses = re.findall(rf"\$\{{?{setting.name}\b|-[ex] {setting.name}\b", document.text)
        if not uses and setting.name.startswith(("NCCL_", "TORCH_NCCL_", "OFI_NCCL_", "UCX_")):
            yield Finding(
                code="not_exported",
                severity="warning",
                line=setting.line,
                name=setting.name,
                says=f"{setting.name} is set for the shell alone: no program sees it",
                hint=f"export {setting.name}",
            )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def summary(found: Sequence[Finding]) -> dict[str, int]:
    """How many of each severity."""
    return {severity: sum(f.severity == severity for f in found) for severity in ORDER}
