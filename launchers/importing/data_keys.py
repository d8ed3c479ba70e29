"""Arguments of the Megatrons to tokens and validation."""

import re

from llmtrain.launchers.importing.reading import Keys, Reading
from llmtrain.launchers.scripts.expand import is_open


def data_keys(r: Reading) -> Keys:
    """``data.*``."""
    paths = r.words("--data-path") or r.words("--train-data-path")
    tokenizer = r.get("--tokenizer-model", "--tokenizer-name-or-path")
    keys: Keys = {"tokenizer": tokenizer, "cache": r.get("--data-cache-path")}
    r.has("--mock-data", "--data-impl", "--use-dataset-only")
    if paths and not any(is_open(path) for path in paths):
        keys |= {"kind": "indexed"} | _blend(paths)
    elif paths:
        r.note("--data-path", "known only when it runs")
        keys["kind"] = "mock"
    else:
        keys["kind"] = "mock"
    split = r.get("--split")
    shares = [part.strip() for part in str(split or "").split(",")]
    if len(shares) == 3 and all(re.fullmatch(r"[\d.]+", part) for part in shares):
        keys["split"] = _shares([float(part) for part in shares])
    keys["validation"] = _validation(r, keys)
    return {key: value for key, value in keys.items() if value}


def _validation(r: Reading, data: Keys) -> Keys:
    """Only what the command line itself asks for: the program's default is a habit, no wish."""
    asked = r.has("--eval-iters")
    batches, interval = r.get("--eval-iters"), r.get("--eval-interval")
    held = r.words("--valid-data-path") if data["kind"] == "indexed" else None
    keys = _blend(held) if held else {}
    # Without tokens to validate on Megatron does not, whatever it is asked.
    some = data["kind"] == "mock" or held or data.get("split", (0, 1))[1]
    if asked and batches and interval and some:
        keys |= {"interval": interval, "batches": batches}
    return keys


def _shares(parts: list[float]) -> list[float]:
    """As fractions: Megatron only looks at their ratio."""
    total = sum(parts)
    return [round(part / total, 9) for part in parts] if total > 1.5 else parts


def _blend(paths: tuple[str, ...]) -> Keys:
    """Weights and prefixes in turn, or prefixes alone."""
    weighted = len(paths) > 1 and len(paths) % 2 == 0
    if weighted and all(re.fullmatch(r"[\d.]+(e-?\d+)?", each) for each in paths[::2]):
        return {"paths": list(paths[1::2]), "weights": [float(each) for each in paths[::2]]}
    return {"paths": list(paths)}
