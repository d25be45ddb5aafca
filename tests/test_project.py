"""What the project says about itself agrees with what it is: headers of studies, lock, licence, citation."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["sweeps", "trainables", "cluster", "analysis"]
STUDIES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "sweeps").glob("*/*.yaml"))


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


# --- texts ------------------------------------------------------------------------------------------------------------


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
    """Home, temporary and work folders, and hosts of package registries. Built from parts, so this file has none.

    `ray_tmp_mount` is where `ray up` puts files on every node.
    """
    folders = "|".join(["ho" + "me", "Us" + "ers", "ro" + "ot", "tm" + "p", "wo" + "rk"])
    hosts = "|".join(
        ["pypi" + r"\.org", "python" + r"hosted\.org", "download" + r"\.pytorch\.org/whl", "ana" + r"conda\.org"]
    )
    pattern = re.compile(rf"(?<![\w.])/(?:{folders})/(?!ray_tmp_mount/)\w|[A-Z]:\\Users|(?:{hosts})")
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


def test_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = pyproject()["project"]
    assert (citation["title"], citation["version"], citation["license"]) == (
        project["name"],
        project["version"],
        project["license"],
    )


def test_pre_commit_runs_what_make_check_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    local = next(repo for repo in config["repos"] if repo["repo"] == "local")
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in local["hooks"]}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert check
    assert {"ruff", "mypy", "codespell"} <= tools
    assert tools <= set(re.findall(r"\$\(BIN\)/(\w+)", check[1]))


def test_the_workflow_calls_make() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert runs == ["make check", "make test"]


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
