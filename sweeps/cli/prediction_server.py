"""Repeated `sweeps predict` in one process, for the dashboard: `python -m sweeps.cli.prediction_server`.

Each line of standard input is a JSON list, the arguments of `sweeps predict`. Each line of standard output is the
answer to one: {"code": exit code, "said": its error output if there is any, otherwise its output}. The process ends at
the end of its input.
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

CACHED_NETWORKS = 2
"""Trained networks that stay in memory."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    loading = threading.Thread(target=_load, name="loading", daemon=True)
    loading.start()
    for line in sys.stdin:
        loading.join()
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
    os._exit(common.DONE)  # immediately, even while libraries are being loaded


def _load() -> None:
    """Load the libraries that every request needs, before the first request."""
    from cluster.worker import prediction

    prediction.NETWORKS.size = CACHED_NETWORKS


def answer(arguments: Sequence[str]) -> dict[str, object]:
    """Run `sweeps predict` with these arguments; its exit code and output."""
    from sweeps.cli.main import main

    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = main(["predict", *arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else common.FAILED
        except Exception:  # print it like the interpreter; the next request may succeed
            traceback.print_exc()
            code = common.FAILED
    return {"code": code, "said": errors.getvalue() or output.getvalue()}


if __name__ == "__main__":
    main()
