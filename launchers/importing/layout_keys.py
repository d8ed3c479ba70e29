"""Arguments of the Megatrons to layout and batch."""

import re
from collections.abc import Mapping
from itertools import pairwise

from llmtrain.launchers.importing.reading import Keys, Reading

UNITS: Mapping[str, int] = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def layout_keys(r: Reading, layers: int | None) -> Keys:
    """``parallel.*``."""
    tp = r.get("--tensor-model-parallel-size") or 1
    pp = r.get("--pipeline-model-parallel-size") or 1
    etp = r.get("--expert-tensor-parallel-size")
    keys: Keys = {
        "tp": tp,
        "pp": pp,
        "vpp": _virtual(r, pp, layers),
        "cp": r.get("--context-parallel-size") or 1,
        "ep": r.get("--expert-model-parallel-size") or 1,
        "etp": None if etp in (None, tp) else etp,
        "sequence": bool(r.get("--sequence-parallel")) and tp > 1,
        "order": "tp-cp-ep-pp-dp" if r.get("--use-tp-pp-dp-mapping") else "tp-cp-ep-dp-pp",
        "account_for_embedding": bool(r.get("--account-for-embedding-in-pipeline-split")),
        "account_for_loss": bool(r.get("--account-for-loss-in-pipeline-split")),
    }
    if "embedding" in str(r.get("--pp-partition-method") or ""):
        # BigScience's fork: both ends weigh as much as a layer.
        keys |= {"account_for_embedding": True, "account_for_loss": True}
    if r.get("--no-pipeline-parallel") and pp > 1:
        keys["pp"] = 1
    return keys | _split(r, pp, layers)


def _virtual(r: Reading, pp: int, layers: int | None) -> int:
    stages = r.get("--num-virtual-stages-per-pipeline-rank")
    each = r.get("--num-layers-per-virtual-pipeline-stage")
    if stages is None and each and layers and layers % (pp * each) == 0:
        stages = layers // pp // each
    return stages or 1


def _split(r: Reading, pp: int, layers: int | None) -> Keys:
    """Layers of each chunk from a layout string, or from a different first and last stage."""
    text = r.get("--pipeline-model-parallel-layout")
    if text:
        chunks = chunks_of_layout(str(text))
        if chunks is None or len(chunks) % pp:
            r.note("--pipeline-model-parallel-layout", "its pattern is not one of layers alone")
            return {}
        return {"layers_per_stage": chunks, "vpp": len(chunks) // pp}
    first = r.get("--decoder-first-pipeline-num-layers")
    last = r.get("--decoder-last-pipeline-num-layers")
    ends = (first is not None) + (last is not None)
    if not ends or not layers:
        return {}
    rest = layers - (first or 0) - (last or 0)
    if pp <= ends or rest % (pp - ends):
        return {}
    middle = [rest // (pp - ends)] * (pp - ends)
    head = [first] if first is not None else []
    return {"layers_per_stage": [*head, *middle, *([last] if last is not None else [])]}


def chunks_of_layout(text: str) -> list[int] | None:
    """Layers of each chunk of ``Et*5|(t*6|)*10t*5L``; None if it says something else."""
    flat = text.replace(" ", "").replace(",", "")
    while found := re.search(r"\(([^()]*)\)\*(\d+)", flat):
        flat = flat[: found.start()] + found[1] * int(found[2]) + flat[found.end() :]
    flat = re.sub(r"([Etm])\*(\d+)", lambda m: m[1] * int(m[2]), flat)
    if not re.fullmatch(r"E[t|]*m*L", flat):
        return None
    return [chunk.count("t") for chunk in flat.split("|")]


def batch_keys(r: Reading, seq: int | None) -> Keys:
    """``batch.*``."""
    keys: Keys = {"micro": r.get("--micro-batch-size", "--batch-size") or 1}
    size = r.get("--global-batch-size")
    if size:
        keys["global"] = size
    ramp = r.words("--rampup-batch-size")
    steps = r.words("--step-batch-size-schedule")
    if ramp and len(ramp) == 3 and all(re.fullmatch(r"[\d_]+", part) for part in ramp):
        start, step, samples = (int(part) for part in ramp)
        if size and start < size:
            keys["ramp"] = {"start": start, "step": step, "samples": samples}
    elif ramp:
        r.note("--rampup-batch-size", "it needs three numbers")
    elif steps:
        keys |= _schedule(r, " ".join(steps), seq)
    return keys


def _schedule(r: Reading, text: str, seq: int | None) -> Keys:
    """A ramp from ``TOKENS:BATCH`` pairs, where they rise evenly."""
    pairs = re.findall(r"([\d.]+)([KMBT]?):(\d+)", text)
    sizes = [int(size) for _, _, size in pairs]
    begins = [round(float(count) * UNITS[unit]) for count, unit, _ in pairs]
    if len(sizes) < 2 or not seq:
        return {"global": sizes[-1]} if sizes else {}
    rises = {b - a for a, b in pairwise(sizes)}
    waits = [b - a for a, b in pairwise(begins)]
    even = max(waits) - min(waits) <= seq
    if len(rises) == 1 and min(rises) > 0 and even:
        samples = round(begins[-1] / seq)
        ramp = {"start": sizes[0], "step": rises.pop(), "samples": samples}
        return {"global": sizes[-1], "ramp": ramp}
    r.note("--step-batch-size-schedule", "its steps are not even: the last one is taken")
    return {"global": sizes[-1]}
