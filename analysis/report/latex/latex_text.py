"""Text for LaTeX: its special characters, Unicode in names, and an estimate of how wide a text is set."""

from __future__ import annotations

import re
import textwrap
import unicodedata

_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "“": "``",
    "”": "''",
    "’": "'",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "⁄": "/",
    "†": r"\textsuperscript{\textdagger}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
    *("xi", "o", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
)
"""The lower-case letters from U+03B1 on."""
_GREEK_CAPITALS = (
    *("A", "B", "Gamma", "Delta", "E", "Z", "H", "Theta", "I", "K", "Lambda", "M", "N"),
    *("Xi", "O", "Pi", "P", "", "Sigma", "T", "Upsilon", "Phi", "X", "Psi", "Omega"),
)
"""The upper-case letters from U+0391 on; some look like Latin ones. U+03A2 is no letter."""
_MATHS = {
    **{"±": "pm", "−": "-", "×": "times", "·": "cdot", "÷": "div", "∓": "mp", "≤": "leq", "≥": "geq", "≠": "neq"},
    **{"≈": "approx", "≡": "equiv", "∝": "propto", "∼": "sim", "∞": "infty", "√": "surd", "∂": "partial"},
    **{"∇": "nabla", "∆": "Delta", "∑": "sum", "∏": "prod", "∫": "int", "∈": "in", "∉": "notin", "∪": "cup"},
    **{"∩": "cap", "⊂": "subset", "⊆": "subseteq", "∅": "emptyset", "∀": "forall", "∃": "exists", "¬": "neg"},
    **{"∧": "wedge", "∨": "vee", "⊕": "oplus", "⊗": "otimes", "∘": "circ", "←": "leftarrow", "→": "rightarrow"},
    **{"↑": "uparrow", "↓": "downarrow", "↔": "leftrightarrow", "⇒": "Rightarrow", "⇐": "Leftarrow"},
    **{"⇔": "Leftrightarrow", "↦": "mapsto", "ℓ": "ell", "‖": "Vert", "●": "bullet", "○": "circ", "′": "prime"},
    **{"≪": "ll", "≫": "gg", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "⟨": "langle"},
    **{"⟩": "rangle", "ϵ": "epsilon", "ϕ": "phi", "ϑ": "vartheta", "µ": "mu", "★": "star", "☆": "star"},
    **{chr(0x3B1 + number): name for number, name in enumerate(_GREEK)},
    **{chr(0x391 + number): name for number, name in enumerate(_GREEK_CAPITALS) if name},
}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))
_NOT_IN_T1 = "ĦħĸĿŀŉ"
_LINE = 16
"""Letters without a place to break a line after which one is made."""

UNICODE = r"\providecommand{\anyscript}[2]{\ifdefined\Umathchar #1\else [#2]\fi}"
"""Defines the command around characters that only XeLaTeX and LuaLaTeX can set; pdfLaTeX shows their code points."""


def escape(text: str) -> str:
    """Escape text for LaTeX and put it on one line. Characters without a command are set by `UNICODE`'s command."""
    return "".join(map(_escaped, unicodedata.normalize("NFC", " ".join(text.split()))))


def breakable(text: str, most: int = _LINE) -> str:
    """Escaped text in which a line may also be broken within words of more than `most` letters."""
    words = []
    for word in text.split():
        parts = [word] if len(word) <= most else re.findall(rf"[^-_/=,.:]{{0,{_LINE}}}[-_/=,.:]*", word)
        words.append(r"\allowbreak{}".join(escape(part) for part in parts if part))
    return " ".join(words)


def _escaped(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    if sign in _MATHS:
        name = _MATHS[sign]
        return f"\\ensuremath{{{chr(92) if len(name) > 1 else ''}{name}}}"
    if sign in _RAISED:
        return f"\\textsuperscript{{{_RAISED[sign]}}}"
    if sign in _LOWERED:
        return f"\\textsubscript{{{_LOWERED[sign]}}}"
    code = ord(sign)
    if 0x20 <= code < 0x7F or (0xA1 <= code <= 0x17F and sign not in _NOT_IN_T1):
        return sign
    plain = unicodedata.normalize("NFKD", sign)
    if plain != sign and (kept := "".join(part for part in plain if not unicodedata.combining(part))):
        return "".join(map(_escaped, kept))
    if unicodedata.category(sign) in ("Cf", "Cc", "Mn"):
        return ""
    return f"\\anyscript{{{sign}}}{{U+{code:04X}}}"


# --- widths -----------------------------------------------------------------------------------------------------------

_THIN, _NARROW, _WIDE = ".,:;'|!il[]", "fjrtI() ", "mwMW%@±−+=×≥≤→←↑↓"


def width(text: str) -> float:
    """About how wide Computer Modern sets a text, in em."""
    return sum(_width(sign) for sign in text)


def _width(sign: str) -> float:
    if sign in _THIN:
        return 0.29
    if sign in _NARROW:
        return 0.36
    if sign in _WIDE:
        return 0.85
    if ord(sign) > 0x2FF and sign not in _MATHS:
        return 3.5  # '[U+4E2D]'
    return 0.75 if sign.isupper() else 0.53


def wrapped(text: str, most: float) -> list[str]:
    """The lines of a heading that is at most about `most` em wide, if its words are."""
    lines: list[str] = []
    for word in text.split():
        for piece in textwrap.wrap(word, 2 * _LINE) or [word]:
            if lines and width(f"{lines[-1]} {piece}") <= most:
                lines[-1] += f" {piece}"
            else:
                lines.append(piece)
    return lines or [""]
