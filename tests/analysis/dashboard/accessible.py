"""Checks the page that a browser shows: WCAG 2.1 AA by axe, the text of figures, and the width of the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.analysis.dashboard.browsing import Reader

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}
"""Backgrounds of the two colour schemes, see `analysis.dashboard.theme`."""
INKS = {"light": "rgb(15, 18, 22)", "dark": "rgb(230, 233, 237)"}
"""Colours of the text of figures, which axe does not check."""
WIDE, PHONE = 1280, 390
"""Widths of the window, px."""
_OFF = {"duplicate-id-active": {"enabled": False}}
"""Every table of Streamlit gives its cells the same ids; the criterion (4.1.1) is no longer part of WCAG."""
_RUN = """
const [options, done] = arguments;
axe.run(document, options).then(found => done(found.violations.flatMap(one => one.nodes.map(
  node => `${one.id}: ${node.html.slice(0, 160)}: ${node.failureSummary.slice(0, 240)}`))));
"""


def shown(reader: Reader) -> tuple[str, int]:
    """Scheme and width in which the page is shown."""
    dark, width = reader.browser.execute_script(
        "return [matchMedia('(prefers-color-scheme: dark)').matches, innerWidth]"
    )
    return "dark" if dark else "light", width


def look(reader: Reader, scheme: str, width: int) -> None:
    """Show the page in a colour scheme and a width of the window, until `reset`."""
    browser = reader.browser
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    ground = "return getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    reader.until(lambda: browser.execute_script(ground) == GROUNDS[scheme], f"the {scheme} scheme in:")
    reader.until(lambda: reader.state() == "notRunning")


def reset(reader: Reader) -> None:
    reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    reader.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def violations(reader: Reader) -> list[str]:
    """What axe finds, in words; text of a figure in another scheme's colour; and a page wider than the window."""
    browser = reader.browser
    if not browser.execute_script("return Boolean(window.axe)"):
        browser.execute_script(_axe())
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "rules": _OFF, "resultTypes": ["violations"]}
    found: list[str] = browser.execute_async_script(_RUN, options)
    sizes = "const main = document.querySelector('[data-testid=stMain]'); return [main.scrollWidth, main.clientWidth]"
    inside, window = browser.execute_script(sizes)
    texts = "return [...document.querySelectorAll('.js-plotly-plot .main-svg text')].map(e => getComputedStyle(e).fill)"
    inks = set(browser.execute_script(texts)) - {INKS[shown(reader)[0]]}
    found += [f"text of a figure is {ink}" for ink in sorted(inks)]
    return found + ([f"the page is {inside} px wide in {window} px"] if inside > window else [])


@cache
def _axe() -> str:
    import axe_core_python

    return (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
