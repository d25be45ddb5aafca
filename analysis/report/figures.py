"""Curves over epochs, and the style that all figures of a report share.

Matplotlib is imported only when a figure is drawn. The palette is Okabe and Ito's, which colour-blind readers can
distinguish; dashes distinguish arms beyond the number of colours. An SVG follows a dark colour scheme on screens.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import wording
from analysis.statistics import intervals
from analysis.study import Study
from sweeps.results import columns as record_columns

if TYPE_CHECKING:
    import pandas as pd

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#4d4d4d")
_DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.2, 1, 1.2)), (0, (1, 1)))
INK, FAINT, GROUND = "#1b1f24", "#8b949e", "#ffffff"
_SOFT, _RULE, _AXIS = "#57606a", "#e6e8eb", "#c8cdd2"
_DARK = {
    **{INK: "#e8eaed", _SOFT: "#9aa4af", GROUND: "#171b21", _RULE: "#2a3038", _AXIS: "#3a424b"},
    **{"#0072b2": "#2f81f7", "#7a5195": "#b795d6", "#4d4d4d": "#b5bbc2"},
}
"""Colours of a dark scheme in place of those that it would hide."""
_FEW = 3
"""If a test metric has values at fewer epochs than this, the validation metric is drawn instead."""
BAND_FROM = 3
"""Fewest seeds with a band over seeds: with two, Student's quantile is 12.7, and bands of many arms fill the panel."""
_IN_PANEL = 10
"""Number of arms for which a panel has room in a legend."""


# --- curves -----------------------------------------------------------------------------------------------------------


def curve_columns(study: Study) -> list[str]:
    """The column drawn for each metric: the metric itself, or its validation counterpart if it has too few epochs."""
    chosen = []
    for metric in study.metrics:
        twin = f"val/{metric.partition('/')[2]}"
        chosen.append(metric if _points(study, metric) >= max(_FEW, _points(study, twin)) else twin)
    return [column for column in dict.fromkeys(chosen) if _points(study, column) > 1]


def _points(study: Study, column: str) -> int:
    return max((len(study.epochs(arm.name, column)) for arm in study.arms if arm.trains), default=0)


def curves(study: Study, form: str = "svg") -> bytes | None:
    """Means over seeds by epoch with 95 % interval bands; arms without training as dashed horizontal lines.

    form: svg, pdf or png. None if no trained arm has values at two epochs.
    """
    columns = curve_columns(study)
    if not columns:
        return None
    with drawing_settings():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        wide = min(2, len(columns))
        tall = -(-len(columns) // wide)
        figure = Figure(figsize=(5.4 * wide if wide > 1 else 8.6, 3.5 * tall + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(tall, wide, squeeze=False).flatten()
        handles: dict[str, Any] = {}
        for column, ax in zip(columns, axes, strict=False):
            handles = {**_panel(ax, study, column), **handles}
        for ax in axes[len(columns) :]:
            ax.set_axis_off()
        legend(figure, axes[len(columns)] if len(axes) > len(columns) else None, handles)
        return render_figure(figure, form)


def _panel(ax: Any, study: Study, column: str) -> dict[str, Any]:
    """Draw one metric; returns the line of each arm for the legend."""
    handles = {}
    for number, arm in enumerate(study.arms):
        rows = study.records[(study.records["arm"] == arm.name)]
        if column not in rows.columns or rows[column].notna().sum() == 0:
            continue
        colour = PALETTE[number % len(PALETTE)]
        if not arm.trains:
            level = float(rows[column].dropna().iloc[0])
            handles[arm.name] = ax.axhline(level, color=colour, linewidth=1.3, linestyle=(0, (2, 2)), zorder=1.5)
            continue
        mean, low, high = bands(rows, column)
        dash = _DASHES[number // len(PALETTE) % len(_DASHES)]
        (handles[arm.name],) = ax.plot(mean.index, mean, color=colour, linewidth=1.8, linestyle=dash)
        ax.fill_between(mean.index, low, high, color=colour, alpha=0.18, linewidth=0)
    style_axes(ax, column)
    return handles


def bands(rows: pd.DataFrame, column: str) -> tuple[pd.Series[float], pd.Series[float], pd.Series[float]]:
    """(mean, low, high) by epoch over the seeds of an arm; the bounds are NaN if fewer than two seeds have values."""
    grouped = rows[np.isfinite(rows[column])].groupby(record_columns.EPOCH)[column]
    mean, sd, n = grouped.mean(), grouped.std(), grouped.count()
    quantiles = n.map({count: intervals.t_quantile(count) if count > 1 else np.nan for count in n.unique()})
    half = quantiles * sd / np.sqrt(n)
    return mean, mean - half, mean + half


def style_axes(ax: Any, column: str) -> None:
    """Title, grid and ticks of a panel over epochs."""
    from matplotlib.ticker import MaxNLocator

    unit = wording.unit(column)
    hint = {"max": "higher is better", "min": "lower is better", "": ""}[wording.better(column)]
    title = wording.label(column) + (f", {unit}" if unit else "")
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
    ax.set_title(hint, loc="right", fontsize=9, color=FAINT, pad=10)
    ax.set_xlabel("epoch", fontsize=9, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y", color=_RULE, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(_AXIS)
    ax.tick_params(labelsize=9, colors=_SOFT, length=0)
    ax.margins(x=0.01)


def style_panel(ax: Any, title: str, across: str, up: str) -> None:
    """Title, names of both axes, grid and ticks of a panel whose abscissa is not the epoch."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
    ax.set_xlabel(across, fontsize=9, color=INK, parse_math=False)
    ax.set_ylabel(up, fontsize=9, color=INK)
    ax.grid(color=_RULE, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(_AXIS)
    ax.tick_params(labelsize=9, colors=_SOFT, length=0)
    ax.margins(x=0.02)


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of the arm with this number."""
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": _DASHES[number // len(PALETTE) % len(_DASHES)]}


def legend(figure: Any, free: Any, handles: dict[str, Any]) -> None:
    """Draw one legend, in the free panel if it fits, otherwise below all panels in a taller figure.

    Names are drawn as plain text, without interpreting mathematics.
    """
    names = [shorten(name) for name in handles]
    blanks = [f"arm {number}" for number in range(len(names))]
    if free is not None and len(names) <= _IN_PANEL:
        drawn = free.legend(list(handles.values()), blanks, loc="center left", frameon=False, labelspacing=0.9)
    else:
        columns = max(1, min(4, len(names), 120 // (max(map(len, names), default=1) + 6)))
        figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(names) // columns))
        drawn = figure.legend(list(handles.values()), blanks, loc="outside lower center", ncols=columns, frameon=False)
    for text, name in zip(drawn.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
        text.set_fontsize(9.5)


def on_groups(study: Study, metric: str, drawn: Collection[str]) -> list[str]:
    """Which arms of a panel can be compared, if they are tested on different images. drawn: arms in the panel."""
    groups = [[wording.quoted(name) for name in group if name in drawn] for group in study.groups_in(metric)]
    groups = [group for group in groups if group]
    if len(groups) < 2:
        return []
    return [
        "Arms are tested on different images; only lines of one group can be compared: "
        f"{'; '.join(map(wording.listing, groups))}."
    ]


def shorten(name: str, most: int = 44) -> str:
    """A name on one line, truncated to `most` characters."""
    line = " ".join(name.split())
    return line if len(line) <= most else line[: most - 1] + "…"


@contextmanager
def drawing_settings() -> Iterator[None]:
    """Matplotlib with only our settings, so that figures do not depend on the machine. Missing glyphs become boxes."""
    import matplotlib

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    settings = {
        "svg.hashsalt": "inpaint-sweeps",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
        "font.family": "DejaVu Sans",
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


_METADATA = {"svg": ("Date", "Creator"), "pdf": ("CreationDate", "Creator", "Producer"), "png": ("Software",)}
"""What matplotlib writes into a file by itself: moments and versions, which are left out."""


def render_figure(figure: Any, form: str) -> bytes:
    """The figure as svg, pdf or png, without a date."""
    target = io.BytesIO()
    metadata = dict.fromkeys(_METADATA[form])
    figure.savefig(target, format=form, dpi=160, metadata=metadata, facecolor=GROUND)
    return _follow_scheme(target.getvalue()) if form == "svg" else target.getvalue()


def _follow_scheme(svg: bytes) -> bytes:
    """An SVG whose ground, texts and darkest lines change with a dark colour scheme on screens."""
    rules = [
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in _DARK.items()
        for kind in ("fill", "stroke")
    ]
    style = f"@media screen and (prefers-color-scheme:dark){{g[id^=text_]{{fill:{_DARK[INK]}}}{''.join(rules)}}}"
    return svg.replace(b"</style>", style.encode() + b"</style>", 1)
