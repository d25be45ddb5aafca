"""The Python interface: load, plan, run and read sweeps. The `sweeps` command calls these functions.

`import sweeps as sw` makes them available as `sw.load`, `sw.run` and so on. Heavy packages are imported inside the
functions, so importing this package is cheap.
"""

from sweeps.api.all_studies import StudyCost, study_costs
from sweeps.api.arguments import LoadedSweep, load
from sweeps.api.clusters import ClusterJob, doctor, follow, submit
from sweeps.api.discovery import describe, json_schema, list_names
from sweeps.api.networks import (
    ExportedNetwork,
    ForgeResult,
    LoadedForge,
    export,
    export_test,
    find_trial,
    forge,
    load_forge,
    predict,
)
from sweeps.api.progress import TrialProgress
from sweeps.api.protocols.named import NamedProtocol, export_protocol, find_protocol, list_protocols
from sweeps.api.protocols.scoring import compare_scores, read_scores, score, score_table
from sweeps.api.results import (
    RedrawnImages,
    SweepComparison,
    SweepStatus,
    audit,
    claims,
    compare,
    export_to,
    list_sweeps,
    newest_plan,
    publish_report,
    read,
    redraw,
    report,
    status,
    write_report,
)
from sweeps.api.running import (
    check_data,
    data_notes,
    delete_checkpoints,
    dependencies,
    estimate,
    plan,
    planned_looks,
    remove_leftovers,
    reproduce,
    resume,
    run,
    stop,
    work_left,
)
from sweeps.api.stored import OpenedStore, StoredFigure, StoredSweep, StoredTrial, open
from sweeps.run_options import RunOptions

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
    "audit",
    "check_data",
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
    "export_to",
    "find_protocol",
    "find_trial",
    "follow",
    "forge",
    "json_schema",
    "list_names",
    "list_protocols",
    "list_sweeps",
    "load",
    "load_forge",
    "newest_plan",
    "open",
    "plan",
    "planned_looks",
    "predict",
    "publish_report",
    "read",
    "read_scores",
    "redraw",
    "remove_leftovers",
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
]
