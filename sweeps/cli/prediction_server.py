"""`sweeps predict` again and again in one process, for the dashboard: `python -m sweeps.cli.prediction_server`.

Each line of standard input is a JSON list, the arguments of `sweeps predict`; each line of standard output answers one:
{"code": exit code, "said": what it printed, its errors after it}. The end of the input ends the process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
import traceback
from collections.abc import Sequence

from sweeps.cli import common

KEPT_TRIALS = 2
"""So many trained networks are kept; the one that was not asked for the longest goes."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    from sweeps.cli import networks

    networks.keep(KEPT_TRIALS)
    loading = threading.Thread(target=_load, name="loading", daemon=True)
    loading.start()
    for line in sys.stdin:
        loading.join()
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
    os._exit(common.DONE)  # at once, also while libraries are loading


def _load() -> None:
    """Load what every request needs, while somebody still chooses an image."""
    import trainables.inference.predict  # noqa: F401 - for what it imports
    from cluster.worker import finished_trial  # noqa: F401


def answer(arguments: Sequence[str]) -> dict[str, object]:
    """What `sweeps predict` does with these arguments, and how it ends."""
    from sweeps.cli.main import main

    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            code = main(["predict", *arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else common.FAILED
        except Exception:  # as Python itself would tell it; the next request may well succeed
            traceback.print_exc()
            code = common.FAILED
    return {"code": code, "said": errors.getvalue() or said.getvalue()}


if __name__ == "__main__":
    main()
