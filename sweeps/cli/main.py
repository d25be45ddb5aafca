"""The `sweeps` command: parses the arguments, runs a verb, prints errors, returns the exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import sweeps
from sweeps.cli import clusters, dashboard, networks, reporting, running, show
from sweeps.cli.common import DONE, INTERRUPTED, TERMINATED, USER_ERROR, Verbs
from sweeps.cli.discovery import editors, names
from sweeps.cli.gate import verb as gate
from sweeps.cli.new import verb as new
from sweeps.cli.protocols import verbs as protocols
from sweeps.errors import SweepError, Terminated, printable

VERB_GROUPS = (running, show, reporting, protocols, gate, networks, clusters, dashboard, names, editors, new)
"""Modules whose `register` adds verbs, in the order of the help."""
CONTINUE = "Run the same command again to continue."


_OUTPUT_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
"""Errors of writing to standard output, which name no file."""


class _Parser(argparse.ArgumentParser):
    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Take the names of a list from before and after options, as in `sweeps score A --protocol P B`."""
        lists = any(not action.option_strings and action.nargs in ("+", "*") for action in self._actions)
        if self._inside or not lists:
            return super().parse_known_args(args, namespace)
        self._inside = True  # the call below comes back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False

    def error(self, message: str) -> NoReturn:
        """Print the usage and a bounded form of the message, which echoes what was given."""
        super().error(printable(message))


class Version(argparse.Action):
    """Prints the version of the installed package; it is read only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"inpaint-sweeps {metadata.version('inpaint-sweeps')}")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    _open_closed_streams()
    command = ("sweeps", *(sys.argv[1:] if arguments is None else arguments))
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # set by the completion script of a shell, see `sweeps completion`
        import argcomplete

        argcomplete.autocomplete(parser)
    restart = (sys.executable, *sys.orig_argv[1:]) if arguments is None else ()
    options = parser.parse_args(arguments, argparse.Namespace(command=command, restart=restart))
    try:
        sweeps.check_packages()
        with sigterm_raises():
            code: int = options.verb(options)
        sys.stdout.flush()  # raises BrokenPipeError here and not when Python ends
        return code
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        print(f"{'terminated' if terminated else 'interrupted'}. {CONTINUE}", file=sys.stderr)
        return TERMINATED if terminated else INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return DONE
    except ValueError as error:
        if not hasattr(error, "allowed"):  # neither a SweepError nor a TrialError: a bug, which keeps its traceback
            raise
        _tell(error, options)
        return USER_ERROR
    except OSError as error:
        if error.filename is None and error.errno not in _OUTPUT_FAILED:
            raise
        _tell(_file_error(error), options)
        if error.filename is None:
            _discard_output()
        return USER_ERROR


def _tell(error: ValueError, options: argparse.Namespace) -> None:
    """Print the four parts of an error, as JSON to standard output if the verb was to print JSON."""
    if not getattr(options, "json", False):
        print(f"error: {error}", file=sys.stderr)
        return
    from sweeps.cli.programs import json_document

    with contextlib.suppress(OSError):  # it may be standard output that cannot be written
        json_document.write(json_document.error(error))
        sys.stdout.flush()


def _open_closed_streams() -> None:
    """Replace streams that the shell has closed (`>&-`), so that no other file becomes the output of programs.

    Characters that the terminal's encoding lacks, such as bytes of a file name that is not UTF-8, are escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is that of the stream
            setattr(sys, name, os.fdopen(opened, "r" if number == 0 else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let Python end without another error, as it writes what is left of the output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _file_error(error: OSError) -> SweepError:
    """A file or folder that the system refuses: no permission, no space, a name that is too long."""
    file = error.filename if error.filename is not None else "standard output"
    if isinstance(file, bytes):
        file = os.fsdecode(file)
    fix = "ls -ld and df -h show permissions and free space; name another file or folder with the option of the verb"
    return SweepError(str(file), error.strerror or str(error), "a file or folder that this user may use", fix)


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end a verb as Ctrl-C does: temporary files are removed and processes are ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_sigterm(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = _Parser(prog="sweeps", description="Ablation studies of image inpainting, from YAML to report.")
    parser.add_argument("--version", action=Version, help="print the version and exit")
    verbs = Verbs(parser)
    for group in VERB_GROUPS:
        group.register(verbs)
    return parser
