"""Random changes of source files: of what they do, and of their layout alone."""

from __future__ import annotations

import ast
import io
import random
import re
import tokenize
from collections.abc import Callable
from typing import Any

Change = Callable[[str, random.Random], str]
"""A change of a source. It may give the source back if there is nothing to change."""


def _segment(source: str, node: Any, new: str) -> str:
    """The source with the text of a node replaced."""
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, node.end_lineno - 1
    before = b"".join(lines[:first]) + lines[first][: node.col_offset]
    after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])
    changed: bytes = before + new.encode() + after
    return changed.decode()


def _one(source: str, chance: random.Random, wanted: Callable[[ast.AST], bool]) -> Any:
    found = [node for node in ast.walk(ast.parse(source)) if wanted(node)]
    return chance.choice(found) if found else None


def _docstrings(tree: ast.AST) -> list[ast.Expr]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]


# --- what the code does -----------------------------------------------------------------------------------------------


def constant(source: str, chance: random.Random) -> str:
    node = _one(source, chance, lambda n: isinstance(n, ast.Constant) and isinstance(n.value, (int, float)))
    return _segment(source, node, repr(node.value + chance.choice((1, 0.5, -2)))) if node else source


def text(source: str, chance: random.Random) -> str:
    tree = ast.parse(source)
    documentation = {node.value.lineno for node in _docstrings(tree)}
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    found = [n for n in found if n.lineno not in documentation and "f" not in source.splitlines()[n.lineno - 1][:1]]
    node = chance.choice(found) if found else None
    return _segment(source, node, repr(str(node.value) + "_")) if node else source


def operator(source: str, chance: random.Random) -> str:
    node = _one(source, chance, lambda n: isinstance(n, ast.BinOp))
    if node is None:
        return source
    node.op = chance.choice([ast.Add(), ast.Sub(), ast.Mult()])
    return _segment(source, node, f"({ast.unparse(node)})")


def comparison(source: str, chance: random.Random) -> str:
    return source.replace(" > ", chance.choice((" < ", " >= -", " != ")))


def default(source: str, chance: random.Random) -> str:
    node = _one(source, chance, lambda n: isinstance(n, ast.FunctionDef) and bool(n.args.defaults))
    if node is None:
        return source
    value = chance.choice(node.args.defaults)
    return _segment(source, value, f"{ast.unparse(value)} + {chance.randint(1, 9)}")


def statement(source: str, chance: random.Random) -> str:
    node = _one(source, chance, lambda n: isinstance(n, ast.FunctionDef) and bool(n.args.args))
    if node is None:
        return source
    argument, body = node.args.args[0].arg, node.body[-1]
    new = f"{argument} = {argument} * {chance.randint(2, 9)}\n{' ' * body.col_offset}"
    return _segment(source, body, f"{new}{ast.get_source_segment(source, body)}")


def deletion(source: str, chance: random.Random) -> str:
    node = _one(source, chance, lambda n: isinstance(n, (ast.Assign, ast.AugAssign, ast.If)))
    return _segment(source, node, "pass") if node else source


def other_function(source: str, chance: random.Random) -> str:
    """Use another function under the same name."""
    pairs = [("smooth as bend", "rough as bend"), ("import curve", "import other_curve as curve"), ("tanh", "sinh")]
    pairs += [("sum(", "max("), ("sorted(", "list("), ("abs(", "float(")]
    fitting = [pair for pair in pairs if pair[0] in source]
    return source.replace(*chance.choice(fitting)) if fitting else source


def exchanged(source: str, chance: random.Random) -> str:
    """Exchange two numbers."""
    numbers = list(re.finditer(r"(?<![\w.])\d+\.\d+", source))
    if len(numbers) < 2:
        return source
    one, two = sorted(chance.sample(numbers, 2), key=lambda found: found.start())
    return source[: one.start()] + two[0] + source[one.end() : two.start()] + one[0] + source[two.end() :]


def data(content: str, chance: random.Random) -> str:
    """Change a digit of a file that is no source."""
    digits = [match.start() for match in re.finditer(r"\d", content)]
    place = chance.choice(digits)
    return content[:place] + str((int(content[place]) + chance.randint(1, 8)) % 10) + content[place + 1 :]


MEANING: dict[str, Change] = {
    "a constant": constant,
    "a text": text,
    "an operator": operator,
    "a comparison": comparison,
    "a default": default,
    "an added statement": statement,
    "a deleted statement": deletion,
    "another function": other_function,
    "exchanged numbers": exchanged,
}

# --- layout -----------------------------------------------------------------------------------------------------------


def _safe_lines(source: str) -> list[int]:
    """Indices of lines before which a line may be inserted: not inside a text or an expression."""
    starts = {node.lineno - 1 for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)}
    return sorted(starts | {len(source.splitlines())})


def _insert(source: str, chance: random.Random, line: str) -> str:
    lines = source.splitlines(keepends=True)
    place = chance.choice(_safe_lines(source))
    return "".join([*lines[:place], line, *lines[place:]])


def comment(source: str, chance: random.Random) -> str:
    return _insert(source, chance, f"{' ' * chance.randint(0, 9)}# remark {chance.random()}\n")


def trailing_comment(source: str, chance: random.Random) -> str:
    lines = source.splitlines()
    ends = [node.end_lineno or 1 for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    place = chance.choice(ends) - 1 if ends else 0
    return "\n".join([*lines[:place], f"{lines[place]}  # {chance.random()}", *lines[place + 1 :]]) + "\n"


def blank_lines(source: str, chance: random.Random) -> str:
    return _insert(source, chance, "\n" * chance.randint(1, 4))


def docstring(source: str, chance: random.Random) -> str:
    """Change, add or remove docstrings."""
    found = _docstrings(ast.parse(source))
    if found and chance.random() < 0.6:
        return _segment(source, chance.choice(found), chance.choice((f'"""Now {chance.random()}."""', "pass")))
    node = _one(source, chance, lambda n: isinstance(n, ast.FunctionDef))
    if node is None:
        return f'"""A module, {chance.random()}."""\n' + source
    body = node.body[0]
    before = f'"""What it does, {chance.random()}."""\n{" " * body.col_offset}'
    return _segment(source, body, f"{before}{ast.get_source_segment(source, body)}")


def reformatted(source: str, _: random.Random) -> str:
    """As a formatter would write it, which also drops the comments."""
    return ast.unparse(ast.parse(source)) + "\n"


def quotes(source: str, _: random.Random) -> str:
    """Exchange single and double quotes around texts."""
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.STRING and re.fullmatch(r"(\"|')[^\"'\\]*\1", token.string):
            (row, start), end = token.start, token.end[1]
            mark = "'" if token.string[0] == '"' else '"'
            lines[row - 1] = lines[row - 1][:start] + mark + token.string[1:-1] + mark + lines[row - 1][end:]
    return "".join(lines)


def parentheses(source: str, chance: random.Random) -> str:
    node = _one(source, chance, lambda n: isinstance(n, (ast.Return, ast.Assign, ast.AugAssign)) and bool(n.value))
    if node is None:
        return source
    value = node.value
    return _segment(source, value, f"(\n    {ast.get_source_segment(source, value)}\n)")


def indentation(source: str, _: random.Random) -> str:
    return re.sub(r"^( {4})+", lambda found: "\t" * (len(found[0]) // 4), source, flags=re.MULTILINE)


def line_ends(source: str, _: random.Random) -> str:
    return source.replace("\n", "\r\n")


def number_spelling(source: str, _: random.Random) -> str:
    return re.sub(r"(?<![\w.])(\d+\.\d+)", r"\g<1>0", source)


LAYOUT: dict[str, Change] = {
    "a comment": comment,
    "a comment behind a statement": trailing_comment,
    "blank lines": blank_lines,
    "a docstring": docstring,
    "formatting": reformatted,
    "quotes": quotes,
    "parentheses": parentheses,
    "indentation": indentation,
    "line ends": line_ends,
    "the spelling of numbers": number_spelling,
}
