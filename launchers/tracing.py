"""NVIDIA's ``nsys`` before a program, where the recipe wants a trace of it."""

from llmtrain.config.recipe import Recipe

COLLECT = (
    "nsys",
    "profile",
    "--trace=cuda,nvtx,osrt",
    # From the program's cudaProfilerStart to its cudaProfilerStop; then it goes on.
    "--capture-range=cudaProfilerApi",
    "--capture-range-end=stop",
    "--kill=none",
    "--force-overwrite=true",
)


def nsys(recipe: Recipe, report: str) -> tuple[str, ...]:
    """The words that start a program under ``nsys``, which writes ``report``; none without."""
    wanted = recipe.profile.tool == "nsys"
    return (*COLLECT, f"--output=logs/{report}") if wanted else ()
