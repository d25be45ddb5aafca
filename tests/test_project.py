"""What the project says about itself agrees with what it is: README tree, links, headers, lock, licence."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["sweeps", "trainables", "cluster", "analysis"]
STUDIES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "sweeps").glob("*/*.yaml"))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def git_files(*options: str) -> set[str]:
    """Paths that git lists, relative to the checkout; those deleted but not committed are left out."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *options]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return {path for path in listed if path and (ROOT / path).is_file()}


def project_files() -> list[Path]:
    """All files of the project: tracked, and new ones that git does not ignore."""
    return [ROOT / path for path in sorted(git_files("--cached", "--others", "--exclude-standard"))]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# --- README's tree ----------------------------------------------------------------------------------------------------


def readme_tree(readme: str) -> list[str]:
    """Paths of the fenced block under `## Layout`: two spaces a level, a folder ends with a slash, then a comment."""
    block = re.search(r"^## Layout\n.*?^```\w*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert block, "README.md has no fenced block under `## Layout`"
    paths: list[str] = []
    parents: list[str] = []
    for line in block[1].splitlines():
        if not line.strip():
            continue
        name, _, comment = line.strip().partition(" ")
        assert comment.strip(), f"README.md, Layout: {name} has no comment"
        depth = (len(line) - len(line.lstrip())) // 2
        assert depth <= len(parents), f"README.md, Layout: {name} is indented too far"
        parents = [*parents[:depth], name] if name.endswith("/") else parents[:depth]
        paths.append("".join(parents) + ("" if name.endswith("/") else name))
    return paths


def shown(path: str) -> bool:
    """Whether the tree must show a file: the modules and sweep files of the packages, their `__init__.py` aside."""
    return path.startswith(tuple(f"{p}/" for p in PACKAGES)) and (
        path.endswith(".yaml") or (path.endswith(".py") and not path.endswith("/__init__.py"))
    )


def test_readme_tree_is_the_real_one() -> None:
    listed = readme_tree((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(listed) == len(set(listed)), "README.md, Layout: a path is listed twice"
    tracked = git_files()
    top = {path.partition("/")[0] + "/" if "/" in path else path for path in tracked}
    missing = sorted(({path for path in tracked if shown(path)} | top) - set(listed))
    assert not missing, f"README.md, Layout lacks {missing}"
    gone = [path for path in listed if not (ROOT / path).exists() or (ROOT / path).is_dir() != path.endswith("/")]
    assert not gone, f"README.md, Layout lists what does not exist: {gone}"


def test_readme_tree_reader() -> None:
    text = (
        "# x\n## Layout\n\n```\na/        first\n  b/      folder\n    c.py  file\n  d.py    file\ne.md      top\n```\n"
    )
    assert readme_tree(text) == ["a/", "a/b/", "a/b/c.py", "a/d.py", "e.md"]


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)", text)]
    relative = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if not (ROOT / target).exists()] == []


def test_readme_example_is_a_valid_sweep(tmp_path: Path) -> None:
    block = re.search(
        r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert block, "README.md shows no sweep file"
    (tmp_path / "example.yaml").write_text(block[1], encoding="utf-8")
    code = "import sys; from sweeps.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "check", str(tmp_path / "example.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) < 50


def test_there_are_studies() -> None:
    assert STUDIES


@pytest.mark.parametrize("path", STUDIES)
def test_a_study_says_what_it_asks_and_found(path: str) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    header = lines[:end]
    assert header, f"{path} does not start with a comment"
    assert any(line.rstrip().endswith("?") for line in header), f"{path}: the header asks no question"
    for word in ("Run", "Time", "Found"):
        said = [line for line in header if re.match(rf"# {word}: \S", line)]
        assert len(said) == 1, f"{path}: the header needs one line `# {word}: ...`"
        if word == "Run":
            assert path in said[0], f"{path}: `# Run:` names another file"


def test_no_path_or_address_of_a_machine() -> None:
    """Home, temporary and work folders, and hosts of package registries. Built from parts, so this file has none."""
    folders = "|".join(["ho" + "me", "Us" + "ers", "ro" + "ot", "tm" + "p", "wo" + "rk"])
    hosts = "|".join(
        ["pypi" + r"\.org", "python" + r"hosted\.org", "download" + r"\.pytorch\.org/whl", "ana" + r"conda\.org"]
    )
    pattern = re.compile(rf"(?<![\w.])/(?:{folders})/\w|[A-Z]:\\Users|(?:{hosts})")
    found = []
    for path in project_files():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert not found, "\n".join(found)


def test_licence_is_there() -> None:
    assert pyproject()["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


# --- packaging --------------------------------------------------------------------------------------------------------


def locked() -> dict[str, set[str]]:
    """Name -> versions in requirements.lock; there are several where they depend on the Python version."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.lstrip().startswith("#"):
            name, _, rest = line.partition("==")
            found.setdefault(canonicalize_name(name), set()).add(re.split(r"[\s;]", rest)[0])
    return found


def test_exactly_the_four_packages_are_installed() -> None:
    assert pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == PACKAGES
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert found == set(PACKAGES)


def test_python_versions_agree() -> None:
    project = pyproject()["project"]
    supported = SpecifierSet(project["requires-python"])
    prefix = "Programming Language :: Python :: "
    named = {c.removeprefix(prefix) for c in project["classifiers"] if re.fullmatch(rf"{prefix}3\.\d+", c)}
    assert named == {f"3.{minor}" for minor in range(40) if supported.contains(f"3.{minor}")}


def test_lock_holds_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    bad = [line for line in lines if re.search(r"://| @ |^-|--", line)]
    assert bad == [], "an address or an option in requirements.lock"
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert [line for line in pins if not re.match(r"[\w.-]+==[\w.!+]+( ;.*)?$", line)] == []


def test_lock_satisfies_pyproject() -> None:
    project = pyproject()["project"]
    pins = locked()
    for text in [
        *project["dependencies"],
        *(item for group in project["optional-dependencies"].values() for item in group),
    ]:
        requirement = Requirement(text)
        versions = pins.get(canonicalize_name(requirement.name), set())
        assert versions, f"requirements.lock lacks {requirement.name}: run `make lock`"
        assert all(requirement.specifier.contains(v) for v in versions), (
            f"{text} is locked as {versions}: run `make lock`"
        )


def test_torch_and_torchvision_are_a_pair() -> None:
    """The locked torch is one that the locked torchvision accepts, and the installed two work as one build."""
    torch_version, vision_version = (next(iter(locked()[name])) for name in ("torch", "torchvision"))
    if importlib.metadata.version("torchvision").partition("+")[0] != vision_version:
        pytest.skip(f"the lock has torchvision {vision_version}, another one is installed")
    needs = [Requirement(text) for text in importlib.metadata.requires("torchvision") or []]
    assert all(need.specifier.contains(torch_version) for need in needs if need.name == "torch")

    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]  # torchvision's compiled part
