"""Verbs that write what editors and shells read: the JSON schema of sweep files, and a completion script."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sweeps import api
from sweeps.cli import common
from sweeps.errors import SweepError

SHELLS = ("bash", "zsh", "fish")


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(
        schema, "schema", "write the JSON schema of sweep files, for editors that complete and check them"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="file for the schema (default: print it)")

    parser = verbs.add(completion, "completion", "print a script that lets a shell complete the command")
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def schema(options: argparse.Namespace) -> int:
    """The schema goes to stdout or to a file, and what to do with it to the other one of stdout and stderr."""
    text = json.dumps(api.json_schema(), indent=1, ensure_ascii=False) + "\n"
    if options.out is None:
        print(text, end="")
        print(_advice("FILE"), file=sys.stderr)
        return common.DONE
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        given, allowed = f"--out {options.out}", "a file that this user may write"
        raise SweepError(given, str(error), allowed, "--out sweep.schema.json") from None
    print(options.out)
    print(_advice(str(options.out.resolve())))
    return common.DONE


def _advice(file: str) -> str:
    from sweeps.spec.yaml_document import EDITOR_LINE

    reader = "VS Code's YAML extension reads it"
    return f"put this line into a sweep file, below its question; {reader}:\n{EDITOR_LINE} $schema={file}"


_LOADED_BY = {
    "bash": 'eval "$(sweeps completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(sweeps completion zsh)" in ~/.zshrc, after compinit',
    "fish": "sweeps completion fish | source in ~/.config/fish/config.fish",
}


def completion(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["sweeps"], shell=options.shell).strip())
    print(f"# To load this in every new shell: {_LOADED_BY[options.shell]}")
    return common.DONE
