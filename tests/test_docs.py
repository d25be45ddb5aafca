"""README and docs agree with the code: links, commands, sweep files, the tree, the generated tables."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_IN_DOCS = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", *_IN_DOCS]
OURS = ("sweeps", "trainables", "cluster", "analysis")
WORDS = {"FILE": "f.yaml", "NAME": "partial-conv", "TRIAL": "0123"}
"""What placeholders in a command stand for."""


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """(info string, content) of every fenced code block."""
    for match in re.finditer(r"^```(\S[^\n]*)\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def prose(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)


# --- links ------------------------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """The anchor that GitHub and MkDocs give a heading."""
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower())


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, part = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        text = file.read_text(encoding="utf-8") if file.suffix == ".md" and file.is_file() else ""
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        if not file.exists() or (part and part not in map(anchor, headings)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.safe_load(read("mkdocs.yml"))

    def leaves(entry: Any) -> Iterator[str]:
        for item in entry if isinstance(entry, list) else entry.values() if isinstance(entry, dict) else [entry]:
            if isinstance(item, str):
                yield item
            else:
                yield from leaves(item)

    findings = ["findings/index.md", "findings/what-holds.md"]
    pages = [*findings, *(path.name for path in DOCS.glob("*.md"))]  # the index links the other findings
    assert sorted(leaves(config["nav"])) == sorted(pages)


def test_the_site_loads_nothing_from_the_network() -> None:
    config = yaml.safe_load(read("mkdocs.yml"))
    assert config["theme"]["font"] is False
    assert not {"extra_css", "extra_javascript"} & config.keys()
    assert [page for page in PAGES if re.search(r"^```mermaid|!\[[^\]]*\]\(https?:", read(page), re.MULTILINE)] == []


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> list[tuple[str, str]]:
    """(page, command) for every `sweeps ...` in a shell block or in the text; several lines are joined."""
    found = []
    for page in PAGES:
        for info, content in blocks(page):
            if info.split()[0] in ("sh", "bash"):
                lines = content.replace("\\\n", " ").splitlines()
                found += [(page, line.strip()) for line in lines if line.strip().startswith("sweeps ")]
        found += [(page, code) for code in re.findall(r"`(sweeps [a-z-]+ [^`]+)`", prose(page))]
    return list(dict.fromkeys(found))


class Parsed(BaseException):
    """Ends the command once its arguments are parsed."""


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_parse(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the `sweeps` command itself; words in capitals are placeholders."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(parser: argparse.ArgumentParser, *given: Any) -> None:
        parse(parser, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    words = [WORDS.get(word, word) for word in shlex.split(command, comments=True)[1:]]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            entry_point()(words)
        except Parsed:
            return
        except SystemExit:
            pass
    pytest.fail(f"{page}: {command}\n{said.getvalue()}")


def entry_point() -> Any:
    """The function behind the `sweeps` command."""
    scripts = tomllib.loads(read("pyproject.toml"))["project"]["scripts"]
    module, _, name = scripts["sweeps"].partition(":")
    return getattr(importlib.import_module(module), name)


def test_there_are_commands() -> None:
    assert len(commands()) > 30


# --- sweep files ------------------------------------------------------------------------------------------------------


def sweep_files() -> list[tuple[str, str, str]]:
    """(page, file name, text) of every YAML block that is a complete sweep file: its fence has `title="NAME.yaml"`."""
    found = []
    for page in PAGES:
        for info, content in blocks(page):
            if title := re.fullmatch(r'yaml title="([\w-]+\.yaml)"', info):
                found.append((page, title[1], content))
    return found


@pytest.mark.parametrize(("page", "name", "text"), sweep_files(), ids=lambda value: str(value)[:40].split("\n")[0])
def test_complete_sweep_files_load(
    page: str, name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    code = entry_point()(["check", str(tmp_path / name)])
    assert code == 0, f"{page}: {name}: {capsys.readouterr().err}"


def test_each_coming_from_page_has_a_complete_file() -> None:
    pages = {page for page, _, _ in sweep_files()}
    assert {f"docs/{path.name}" for path in DOCS.glob("coming-from-*.md")} <= pages


@pytest.mark.parametrize("page", PAGES)
def test_yaml_blocks_are_yaml(page: str) -> None:
    for info, content in blocks(page):
        if info.split()[0] == "yaml":
            list(yaml.safe_load_all(content))


def test_python_blocks_compile() -> None:
    for page in PAGES:
        for info, content in blocks(page):
            if info.split()[0] == "python":
                compile(content, page, "exec")


def test_paths_in_the_text_exist() -> None:
    """Files and folders of ours that a page names in code type; keys of a store, which have <...>, are none."""
    named = re.compile(r"`((?:sweeps|trainables|cluster|analysis|tests|docs)/[\w./-]*)`")
    missing = {page: [path for path in named.findall(prose(page)) if not (ROOT / path).exists()] for page in PAGES}
    assert {page: paths for page, paths in missing.items() if paths} == {}


def test_imports_of_ours_exist() -> None:
    """`from analysis.studies import read` in a Python block: the file is there, or on the page, and has the name."""
    missing = []
    for page in PAGES:
        trees = [ast.parse(content) for info, content in blocks(page) if info.split()[0] == "python"]
        titled = [(re.fullmatch(r'python title="([\w/]+)\.py"', info), content) for info, content in blocks(page)]
        shown = {title[1].replace("/", "."): content for title, content in titled if title}
        for node in (node for tree in trees for node in ast.walk(tree)):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in OURS:
                file = ROOT.joinpath(*str(node.module).split(".")).with_suffix(".py")
                source = file.read_text(encoding="utf-8") if file.is_file() else ""
                source += "".join(text for name, text in shown.items() if str(node.module).endswith(f".{name}"))
                names = [alias.name for alias in node.names]
                missing += [(page, node.module, n) for n in names if not re.search(rf"(def|class) {n}\b", source)]
    assert missing == []


# --- README -----------------------------------------------------------------------------------------------------------


def test_readme_fits_a_page() -> None:
    assert len(read("README.md").splitlines()) <= 150


def tree() -> list[str]:
    """Paths of README's tree: two spaces a level, a folder ends with a slash, then what it is for."""
    (content,) = [content for info, content in blocks("README.md") if info == "text"]
    paths: list[str] = []
    parents: list[str] = []
    for line in content.splitlines():
        name, _, meaning = line.strip().partition(" ")
        assert meaning.strip(), f"README.md: {name} has no meaning beside it"
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name]
        paths.append("".join(parents))
    return paths


def test_readme_tree_lists_what_exists() -> None:
    paths = tree()
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {"sweeps/", "trainables/", "cluster/", "analysis/", "tests/", "docs/"} <= set(paths)


# --- the tables that the site generates -------------------------------------------------------------------------------


def reference() -> Any:
    """The hook of `mkdocs.yml`, which is no package."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "hooks" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_tables() -> None:
    """Every marker finds its definition, and every row of a table of keys says what the key means."""
    hook = reference()
    filled = {page: hook.fill(read(page)) for page in PAGES if page.startswith("docs/")}
    left = re.compile(r"^<!-- [a-z]+(: [\w ]+)? -->$", re.MULTILINE)
    assert [page for page, text in filled.items() if left.search(text)] == []
    assert "| `seeds` |" in filled["docs/sweep-files.md"]
    assert "**`free_form`**" in filled["docs/data-and-masks.md"]
    assert re.search(r"^::: [\w.]+\.Study$", filled["docs/api.md"], re.MULTILINE)


def test_a_marker_without_a_definition_is_an_error() -> None:
    with pytest.raises(LookupError, match="NoSuchThing"):
        reference().fill("<!-- keys: NoSuchThing -->")
