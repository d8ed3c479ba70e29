"""The field's known runs, published beside predicted: ``python -m benchmarks.seeds [--json]``."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.points import SHIPPED, read_points
from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.planner.outlook import outlook_of
from llmtrain.planner.step import recipe_step

FILE = Path(__file__).parent / "data" / "seeds.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One known run."""

    run: str
    """Model and machine."""
    quantity: str
    """step_seconds, net_days, gross_days, minutes, or days_projected."""
    published: float | None
    """What its authors say; None: nothing."""
    predicted: float
    """What the planner says."""
    error_percent: float | None
    """Predicted against published."""
    compares: str
    """What is compared, net or gross of failures."""
    source: str
    """Where it was published."""


def rows() -> Iterator[Row]:
    """Every run of the data file, then the projected table."""
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for seed in data["seeds"]:
        recipe = compose([f"recipe={seed['recipe']}", *seed.get("with", ())])
        predicted = _predicted(recipe, seed)
        yield _row(seed["run"], seed["quantity"], seed["published"], predicted, seed)
    yield from _projected(data["projections"])


def _row(
    run: str, quantity: str, published: float | None, predicted: float, seed: Mapping[str, Any]
) -> Row:
    error = None if published is None else 100.0 * (predicted / published - 1.0)
    return Row(
        run=run, quantity=quantity, published=published, predicted=predicted,
        error_percent=error, compares=seed["compares"], source=seed["source"],
    )  # fmt: skip


def _predicted(recipe: Recipe, seed: Mapping[str, Any]) -> float:
    if seed["quantity"] == "step_seconds":
        return _step_seconds(recipe)
    if seed["quantity"] == "minutes":
        return _minutes(recipe, seed)
    outlook = outlook_of(recipe, seed.get("stack"))
    if outlook is None:
        raise ValueError(f"{recipe.name} has no length")
    gross = seed["quantity"] == "gross_days"
    return outlook.goodput.days if gross else outlook.length.days


def _step_seconds(recipe: Recipe) -> float:
    step = recipe_step(recipe)
    if step is None:
        raise ValueError(f"nothing is known of {recipe.cluster.gpu.name}")
    return float(step.seconds)


def _minutes(recipe: Recipe, seed: Mapping[str, Any]) -> float:
    """MLPerf: training steps, and what the log shows beside them."""
    return float(((recipe.run.steps or 0) * _step_seconds(recipe) + seed["outside"]) / 60.0)


def _projected(data: Mapping[str, Any]) -> Iterator[Row]:
    points = [point for point in read_points(SHIPPED) if point.family == data["family"]]
    rates: dict[str, tuple[Recipe, float]] = {}
    for size, name in data["recipes"].items():
        recipe = compose([f"recipe={name}", f"tokens={data['tokens']}"])
        outlook = outlook_of(recipe)
        if outlook is not None:
            rates[size] = recipe, outlook.length.days * recipe.gpus
    for point in points:
        recipe, gpu_days = rates[point.text("params_b")]
        gpus, published = point.whole("gpus") or 1, point.number("days_for_tokens")
        said = {
            "compares": data["compares"].format(gpus=recipe.gpus),
            "source": point.text("source"),
        }
        run = f"GPT-3 {point.text('params_b')}B on {gpus} A100"
        yield _row(run, "days_projected", published, gpu_days / gpus, said)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or every row as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__)
    parser.add_argument("--json", action="store_true", help="every row as JSON")
    found = list(rows())
    if parser.parse_args(arguments).json:
        print(json.dumps({"rows": [asdict(row) for row in found]}, indent=2))
        return 0
    print(f"{'run':34}{'quantity':16}{'published':>10}{'predicted':>11}{'error %':>9}  compares")
    for row in found:
        published = "-" if row.published is None else f"{row.published:.4g}"
        error = "-" if row.error_percent is None else f"{row.error_percent:+.1f}"
        print(
            f"{row.run:34}{row.quantity:16}{published:>10}{row.predicted:>11.4g}{error:>9}  "
            f"{row.compares}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
