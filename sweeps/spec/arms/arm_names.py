"""Which texts can be names: of arms, levels of a grid and claims. They become rows of tables, files and terminals."""

from __future__ import annotations

import unicodedata

MOST = 300
"""Most characters of a label of a grid."""
_JOINERS = "\u200c\u200d"
"""Invisible characters that words of some scripts and emoji need."""


def usable(name: str) -> str:
    """Return the name. Raises ValueError if it is blank, has blanks around it or invisible characters, or is long."""
    if not name.strip():
        raise ValueError("it is blank")
    if name != name.strip():
        raise ValueError(f"it begins or ends with a blank: {name!r}")
    hidden = [sign for sign in name if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    hidden = [sign for sign in hidden if sign not in _JOINERS]
    if hidden:
        raise ValueError(f"it contains {hidden[0]!a}, a control or invisible character")
    if len(name) > MOST:
        raise ValueError(f"it has {len(name):,} characters, more than {MOST}")
    return name


def look(name: str) -> str:
    """Equal for names that look the same, although their characters are different: composed and combined accents."""
    return unicodedata.normalize("NFKC", "".join(sign for sign in name if sign not in _JOINERS))
