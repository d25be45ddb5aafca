"""Sweep files, plans, trials, the store, and the Python interface: `import sweeps as sw; sw.load("study.yaml")`.

The names below come from `sweeps.api`, which is imported when the first of them is used.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.api import (
        ClusterJob,
        ExportedNetwork,
        ForgeResult,
        LoadedForge,
        LoadedSweep,
        RedrawnImages,
        RunOptions,
        SweepComparison,
        SweepStatus,
        claims,
        compare,
        delete_checkpoints,
        dependencies,
        describe,
        doctor,
        estimate,
        export,
        export_test,
        find_trial,
        follow,
        forge,
        json_schema,
        list_names,
        list_sweeps,
        load,
        load_forge,
        newest_plan,
        open,
        plan,
        predict,
        publish_report,
        read,
        redraw,
        report,
        reproduce,
        resume,
        run,
        status,
        stop,
        submit,
        work_left,
        write_report,
    )

__all__ = [
    "ClusterJob",
    "ExportedNetwork",
    "ForgeResult",
    "LoadedForge",
    "LoadedSweep",
    "RedrawnImages",
    "RunOptions",
    "SweepComparison",
    "SweepStatus",
    "claims",
    "compare",
    "delete_checkpoints",
    "dependencies",
    "describe",
    "doctor",
    "estimate",
    "export",
    "export_test",
    "find_trial",
    "follow",
    "forge",
    "json_schema",
    "list_names",
    "list_sweeps",
    "load",
    "load_forge",
    "newest_plan",
    "open",
    "plan",
    "predict",
    "publish_report",
    "read",
    "redraw",
    "report",
    "reproduce",
    "resume",
    "run",
    "status",
    "stop",
    "submit",
    "work_left",
    "write_report",
]


def check_packages() -> None:
    """Raise SweepError if one of our packages would be imported from somewhere else: other projects use these names."""
    import importlib.util

    here = Path(__file__).resolve().parents[1]
    for name in ("sweeps", "trainables", "cluster", "analysis"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if origin != here:
            raise SweepError(
                f"package `{name}`",
                f"it is imported from {origin or 'nowhere'}, not from {here}",
                "the package of inpaint-sweeps",
                f"uninstall the other package called {name!r} (pip uninstall {name}), or run from another folder",
            )


if not TYPE_CHECKING:  # a type checker would accept every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sweeps import api

        check_packages()
        return getattr(api, name)
