"""Type sizes and colours, light and dark, for Streamlit's elements and for figures.

Arms have the colours of the report (Okabe and Ito), which colour-blind readers can tell apart. Colours behind text are
translucent tints, so that they suit a light and a dark background.
"""

from __future__ import annotations

from typing import Any

from analysis.report.figures import PALETTE

STATES: dict[str, tuple[str, str, str]] = {
    # state: (colour, Streamlit's name of the colour, symbol)
    "done": ("#009e73", "green", "✓"),
    "cached": ("#009e73", "green", "⟲"),
    "running": ("#0072b2", "blue", "▶"),
    "failed": ("#d55e00", "red", "✕"),
    "interrupted": ("#e69f00", "orange", "❚❚"),
    "to be extended": ("#0072b2", "blue", "+"),
    "damaged": ("#d55e00", "red", "!"),
    "pruned": ("#7a5195", "violet", "✂"),
    "queued": ("#8b949e", "gray", "·"),
}
LIGHT = {"ground": "#ffffff", "second": "#f5f6f8", "ink": "#0f1216", "faint": "#57606a", "line": "#d8dde3"}
DARK = {"ground": "#12161c", "second": "#1b2129", "ink": "#e6e9ed", "faint": "#9aa5b1", "line": "#313a45"}
_SIZES = ["1.75rem", "1.25rem", "1.0625rem", "1rem", "0.9375rem", "0.875rem"]
"""Sizes of headings one to six; text has 1rem, which is 15 px."""
LEGEND = {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom", "title": None}
"""Legend of a figure: below its axis, in as many lines as it needs."""
_WHOLE = 12
"""Number of epochs, steps or suggestions up to which each has a tick."""
_LOW, _HIGH = (86, 180, 233), (0, 114, 178)
"""Colours of the worst and the best value of a metric, as RGB."""


def options() -> dict[str, Any]:
    """Streamlit's theme settings, by option."""
    common = {
        "theme.baseFontSize": 15,
        "theme.headingFontSizes": _SIZES,
        "theme.headingFontWeights": [650, 600, 600, 600, 600, 600],
        "theme.baseRadius": "6px",
        "theme.showWidgetBorder": True,
        "theme.paddingTop": "1.75rem",
        "theme.chartCategoricalColors": list(PALETTE),
    }
    return {**common, **_scheme("light", LIGHT, "#0072b2"), **_scheme("dark", DARK, "#4aa8e0")}


def _scheme(name: str, colours: dict[str, str], primary: str) -> dict[str, Any]:
    return {
        f"theme.{name}.primaryColor": primary,
        f"theme.{name}.backgroundColor": colours["ground"],
        f"theme.{name}.secondaryBackgroundColor": colours["second"],
        f"theme.{name}.textColor": colours["ink"],
        f"theme.{name}.borderColor": colours["line"],
        f"theme.{name}.linkColor": primary,
        f"theme.{name}.grayTextColor": colours["faint"],
    }


def style() -> str:
    """CSS for links within text, and for text that Streamlit draws with too little contrast (WCAG AA: 4.5 to 1).

    It follows the colour scheme without the server, so that a browser may change it at any time.
    """
    faint = f"light-dark({LIGHT['faint']}, {DARK['faint']})"
    ink = f"light-dark({LIGHT['ink']}, {DARK['ink']})"
    line = f"light-dark({LIGHT['line']}, {DARK['line']})"
    on_primary = f"light-dark({LIGHT['ground']}, {DARK['ground']})"
    return f"""[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p {{ color: {faint}; opacity: 1 }}
        [data-testid^="stBaseButton-primary"]:enabled, [data-testid^="stBaseButton-primary"]:enabled p,
        [data-testid="stMultiSelect"] span[title], [data-baseweb="tag"] * {{ color: {on_primary} !important }}
        .js-plotly-plot .main-svg :not(.hoverlayer *) > text:not(.bartext) {{ fill: {ink} !important }}
        .js-plotly-plot :is(.xgrid, .ygrid, .xlines-above, .ylines-above) {{ stroke: {line} !important }}
        .js-plotly-plot .modebar-btn path {{ fill: {faint} !important }}
        .js-plotly-plot .modebar-btn.active path {{ fill: {ink} !important }}
        [data-stale="true"] {{ opacity: 1 !important }}
        [class*="st-key-trials-"] a p {{ text-decoration: underline }}"""


def tint(colour: str, strength: float = 0.18) -> str:
    """A colour as a translucent tint, for a light or a dark background."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"


def scale(share: float) -> str:
    """The tint of a value; share: position between the worst (0) and the best (1)."""
    strength = 0.06 + 0.5 * min(max(share, 0.0), 1.0)
    red, green, blue = (round(low + share * (high - low)) for low, high in zip(_LOW, _HIGH, strict=True))
    return f"rgba({red},{green},{blue},{strength:.3f})"


def arm_colour(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def arm_dash(number: int) -> str:
    """Dash of an arm's lines; arms that share a colour differ in their dashes."""
    return ("solid", "dash", "dashdot", "dot")[number // len(PALETTE) % 4]


def whole_ticks(figure: Any) -> dict[str, Any]:
    """Settings of an axis of whole numbers: a tick for each if there are few, and never fractions."""
    across = [one for trace in figure.data for one in (() if trace.x is None else trace.x) if one is not None]
    short = across and max(across) - min(across) <= _WHOLE
    return {"tickformat": ",d"} | ({"dtick": 1} if short else {})


def style_figure(figure: Any, dark: bool, height: int = 380) -> Any:
    """Give a Plotly figure the dashboard's colours, font and margins. Returns the figure."""
    colours = DARK if dark else LIGHT
    axis = {"gridcolor": colours["line"], "zeroline": False, "linecolor": colours["line"], "automargin": True}
    figure.update_layout(
        template="plotly_dark" if dark else "plotly_white",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "Source Sans, Source Sans Pro, sans-serif", "size": 13, "color": colours["ink"]},
        title={"font": {"size": 16}, "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"t": 36}},
        margin={"l": 8, "r": 8, "t": 72, "b": 8},  # the title is below the buttons, which it would meet on a phone
        hoverlabel={"font": {"size": 13}},
        colorway=list(PALETTE),
        uirevision="kept",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": colours["faint"], "activecolor": colours["ink"]},
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
