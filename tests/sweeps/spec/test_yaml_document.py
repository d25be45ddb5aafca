"""Strict reading of YAML with the place of every value."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.errors import SweepError
from sweeps.spec import yaml_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("0777", 777),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("'1e-5'", "1e-5"),
        ("null", None),
        ("~", None),
        ("", None),
        ("[1, a]", [1, "a"]),
    ],
)
def test_plain_values_are_read_as_yaml_1_2(text: str, value: object) -> None:
    read = yaml_document.parse(f"key: {text}", "f.yaml").value["key"]
    assert read == value
    assert type(read) is type(value)


def test_a_number_that_other_readers_take_for_text_is_told() -> None:
    notes = yaml_document.parse("lr: 1e-5\nbeta: 1.0e-5", "f.yaml").notes
    assert len(notes) == 1
    assert notes[0].startswith("f.yaml:1: 1e-5 is read as the number 1e-05")
    assert "all readers take 1.0e-5 for a number" in notes[0]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: 1\nb: [", "f.yaml:2", "not valid YAML"),
        ("a: 1\na: 2", "f.yaml:2", "is repeated"),
        ("- a", "f.yaml", "not a mapping"),
        ("", "f.yaml", "not a mapping"),
        ("? [a]\n: 1", "f.yaml:1", "a list or a mapping"),
        ("a: &x [*x]", "f.yaml:1", "nested too deeply"),
        ("a: @", "f.yaml:1", "not valid YAML"),
        ("a: 1\nb: " + "[" * 100_000, "f.yaml:2", "nested too deeply"),
        ("a: &a [*a, *a]", "f.yaml:1", "nested too deeply"),
        (
            "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{f'*a{i - 1},' * 10}]" for i in range(1, 10))]),
            "f.yaml:1",
            "values",
        ),
        ("a:\n  - " + "9" * 5000, "f.yaml:2", "too large"),
        ("a: -9223372036854775809", "f.yaml:1", "too large"),
        ("a: 1.0e+999", "f.yaml:1", "too large"),
        ("a: '" + "x" * 2_000_001 + "'", "f.yaml", "more than 2,000,000"),
        ("a: 1\nb:\n  <<: 3", "f.yaml:3", "does not name a mapping"),
        ("a: \x07", "f.yaml", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: str, why: str) -> None:
    with pytest.raises(SweepError) as caught:
        yaml_document.parse(text, "f.yaml")
    assert caught.value.given.startswith(line)
    assert why in caught.value.why


def test_every_value_has_a_place() -> None:
    read = yaml_document.parse("a:\n  b: 1\n  c:\n    - x\n    - y\n", "f.yaml")
    assert read.origin(("a", "b")) == "f.yaml:2"
    assert read.origin(("a", "c", 1)) == "f.yaml:5"
    assert read.origin(("a", "unknown")) == "f.yaml:1"
    read.set(("a", "c"), 3, "--set a.c=3")
    assert read.value == {"a": {"b": 1, "c": 3}}
    assert read.origin(("a", "c", 1)) == "--set a.c=3"


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("a: 1")
    with pytest.raises(SweepError) as caught:
        yaml_document.read(tmp_path / "their.yaml")
    assert caught.value.allowed == "there.yaml"


def test_merge_keys_are_read_and_own_keys_have_priority() -> None:
    text = "one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nboth:\n  c: 3\n  <<: [*one, *two]\ntext: {'<<': 4}\n"
    read = yaml_document.parse(text, "f.yaml")
    assert read.value["both"] == {"a": 1, "b": 1, "c": 3}
    assert read.value["text"] == {"<<": 4}
    assert read.origin(("both", "a")) == "f.yaml:1"
    assert read.origin(("both", "c")) == "f.yaml:4"


def test_encodings(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes("# Ä?\na: ü".encode("utf-8-sig"))
    read = yaml_document.read(file)
    assert read.value == {"a": "ü"}
    assert read.question == "Ä?"
    file.write_bytes("a: ü".encode("utf-16"))
    with pytest.raises(SweepError, match="not text in UTF-8"):
        yaml_document.read(file)


def test_header_and_question() -> None:
    read = yaml_document.parse("# Does it?\n#\n# Run: x\na: 1\n# not this\n", "f.yaml")
    assert read.question == "Does it?"
    assert read.header == "Does it?\n\nRun: x"
