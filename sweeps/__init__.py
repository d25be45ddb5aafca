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
        NamedProtocol,
        OpenedStore,
        RedrawnImages,
        RunOptions,
        StoredFigure,
        StoredSweep,
        StoredTrial,
        StudyCost,
        SweepComparison,
        SweepStatus,
        TrialProgress,
        archive,
        audit,
        claims,
        compare,
        compare_scores,
        data_notes,
        delete_checkpoints,
        dependencies,
        describe,
        doctor,
        estimate,
        export,
        export_protocol,
        export_test,
        find_protocol,
        find_trial,
        follow,
        forge,
        gate_init,
        gate_status,
        gate_try,
        json_schema,
        list_names,
        list_protocols,
        list_sweeps,
        load,
        load_forge,
        newest_plan,
        open,
        plan,
        predict,
        publish_report,
        read,
        read_scores,
        redraw,
        report,
        reproduce,
        resume,
        run,
        score,
        score_table,
        status,
        stop,
        study_costs,
        submit,
        work_left,
        write_report,
        write_scores,
    )

__all__ = [
    "ClusterJob",
    "ExportedNetwork",
    "ForgeResult",
    "LoadedForge",
    "LoadedSweep",
    "NamedProtocol",
    "OpenedStore",
    "RedrawnImages",
    "RunOptions",
    "StoredFigure",
    "StoredSweep",
    "StoredTrial",
    "StudyCost",
    "SweepComparison",
    "SweepStatus",
    "TrialProgress",
    "archive",
    "audit",
    "claims",
    "compare",
    "compare_scores",
    "data_notes",
    "delete_checkpoints",
    "dependencies",
    "describe",
    "doctor",
    "estimate",
    "export",
    "export_protocol",
    "export_test",
    "find_protocol",
    "find_trial",
    "follow",
    "forge",
    "gate_init",
    "gate_status",
    "gate_try",
    "json_schema",
    "list_names",
    "list_protocols",
    "list_sweeps",
    "load",
    "load_forge",
    "newest_plan",
    "open",
    "plan",
    "predict",
    "publish_report",
    "read",
    "read_scores",
    "redraw",
    "report",
    "reproduce",
    "resume",
    "run",
    "score",
    "score_table",
    "status",
    "stop",
    "study_costs",
    "submit",
    "work_left",
    "write_report",
    "write_scores",
]


def check_packages() -> None:
    """Raise SweepError if one of our packages would be imported from somewhere else: other projects use these names.

    The error names the file that is in the way.
    """
    here = Path(__file__).resolve().parents[1]
    for name in ("sweeps", "trainables", "cluster", "analysis"):
        found = _found(name)
        if found is None or not found.is_relative_to(here / name):
            raise SweepError(
                f"package `{name}`",
                f"{found or 'nothing'} is imported under this name, not {here / name}",
                "the package of inpaint-sweeps",
                _remedy(name, found),
            )


def _found(name: str) -> Path | None:
    """The file of a package, or the folder of one without a file, as Python imports or has imported it."""
    import importlib.util
    import sys

    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None):
        return Path(str(loaded.__file__)).resolve()
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that something made without a file
        return None
    folders = list(spec.submodule_search_locations or []) if spec else []
    origin = spec.origin if spec and spec.origin else folders[0] if folders else None
    return Path(origin).resolve() if origin else None


def _remedy(name: str, found: Path | None) -> str:
    if found is None:
        return "install inpaint-sweeps again, and restart Python"
    if {"site-packages", "dist-packages"} & set(found.parts):
        return f"uninstall the other package called {name!r} (pip uninstall {name}), or use another environment"
    other = found.parent if found.name == "__init__.py" else found
    return f"rename {other}, or run from another folder; of an installed package: pip uninstall {name}"


if not TYPE_CHECKING:  # a type checker would accept every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sweeps import api

        check_packages()
        return getattr(api, name)
