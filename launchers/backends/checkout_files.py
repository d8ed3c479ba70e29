"""Files of a run with which the job checks the program's checkout against ``backend.version``."""

import json
import re
from collections.abc import Mapping

from llmtrain.launchers.backends.flag_table import FlagTable
from llmtrain.launchers.shell import package_text

FILE = "checkout.json"
"""What is expected; ``checkout.py`` beside it looks whether it is there."""


def checkout_files(path: str | None, table: FlagTable) -> Mapping[str, str]:
    """Both files; none where the checkout is not known yet."""
    if path is None:
        return {}
    found = re.search(r"(\d+\.\d+)\.\d+", table.version)
    wanted = {
        "program": table.program,
        "version": table.version,
        "path": path,
        "commit": table.commit,
        "release": found[1] if found else "",
    }
    return {FILE: json.dumps(wanted, indent=2) + "\n", "checkout.py": package_text("checkout.py")}
