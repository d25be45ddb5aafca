"""Streamlit's AppTest. At each page it looks for components in every installed package; here once a process.

This took four fifths of the time of the tests of the dashboard.
"""

from __future__ import annotations

import functools

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

__all__ = ["AppTest"]

setattr(  # noqa: B010 - mypy does not allow to assign to a function
    manifest_scanner, "scan_component_manifests", functools.cache(manifest_scanner.scan_component_manifests)
)
