"""Most bytes of tensors while ZeRO-3's weights are made, left in ``bytes.json``: a program."""

import json
import sys
from pathlib import Path

from llmtrain.config.files import read_recipe
from llmtrain.trainer.device import choose
from llmtrain.trainer.rank import Rank


def main() -> int:
    """Build in the folder that is named; the exit status."""
    folder = Path(sys.argv[1])
    recipe, rank = read_recipe(folder / "recipe.yaml"), Rank.read()
    device = choose(recipe, rank)

    from llmtrain.trainer import groups
    from llmtrain.trainer.deepspeed.begin import FILE, prepare

    position = groups.join(recipe, rank, device)
    prepare(device)

    from llmtrain.trainer.deepspeed import shards
    from llmtrain.trainer.memory import living_bytes, memory

    before, followed = living_bytes(), memory(device)
    config = json.loads((folder / FILE).read_text())
    part, _ = shards.build(recipe, position, device, config)
    whole = sum(param.ds_numel * param.element_size() for param in part.parameters())
    found = {"whole": whole, "most": followed.peak() - before, "left": living_bytes() - before}
    groups.leave()
    if rank.leads:
        (folder / "bytes.json").write_text(json.dumps(found))
    return 0
