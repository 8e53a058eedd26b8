"""The parser of ``authguard``, its exit status, and what it does about errors.

A command is a module of this package with ``DESCRIPTION``, ``EPILOG``, ``add_arguments(parser)`` and
``run(namespace)``, which returns the exit status. It may add commands of its own to the parser. Only the module of the
command that is called is imported, so that ``authguard --version`` needs neither cryptography nor a framework.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, NoReturn

from authguard import __version__
from authguard.cli.terminal import flush, note, printable, write
from authguard.errors import ConfigurationError

_COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "keygen": "make a key pair that signs tokens",
        "token": "sign a token for development",
        "hash": "make a password hash, or a line of a password file for Basic",
        "htdigest": "make a line of a password file for Digest",
        "secret": "make a random secret",
        "apikey": "make, list, rotate, revoke and audit API keys",
        "revoke": "revoke a token, a session, an API key or a subject",
        "explain": "say why a request is refused, and what to do",
        "replay": "say which requests of a file would be decided otherwise under changed rules",
        "routes": "print what each route of an app requires, and findings with a fix",
        "probe": "say what is wrong in how a server refuses, and what a proxy does to credentials",
        "echo": "answer a probe behind a proxy",
    }
)
_DESCRIPTION = """Keys, tokens and passwords for an app that authguard protects, and the audit of its routes.
`authguard COMMAND --help` describes a command, with an example."""
_EPILOG = """Passwords and keys are never arguments: other users of the machine and the shell's history would see them.
The exit status is 0 for success, 1 for findings, 2 if an argument is wrong or nothing can be done.

Examples:
  authguard keygen --public public.pem
  authguard routes shop:app"""

# What a shell says of a program that ended by SIGINT or SIGPIPE.
_INTERRUPTED, _PIPE_CLOSED = 130, 141


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without control characters of an argument."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def print_help(self, file: object = None) -> None:
        write(self.format_help().removesuffix("\n"))  # argparse would ignore that it cannot be written

    def error(self, message: str) -> NoReturn:
        note(f"{message.removeprefix('argument ')}; see {self.prog} --help")
        raise SystemExit(2)


class _Version(argparse.Action):
    """``--version``: print the version alone, so that scripts can compare it."""

    def __call__(self, *_: object) -> NoReturn:
        write(f"authguard {__version__}")
        raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 for success, 1 for findings, 2 for wrong arguments."""
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            flush()
    except ConfigurationError as error:
        note(str(error))
        return 2
    except BrokenPipeError:
        return _PIPE_CLOSED
    except KeyboardInterrupt:
        note("interrupted")
        return _INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    parser = _Parser(prog="authguard", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, summary in _COMMANDS.items():
        subparser = commands.add_parser(name, help=summary)
        if name in arguments:
            command = import_module(f"authguard.cli.{name}")
            subparser.description, subparser.epilog = command.DESCRIPTION, command.EPILOG
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run, parser=subparser)
    namespace, extra = parser.parse_known_args(arguments)
    if extra:
        namespace.parser.error(_extra_problem(extra))
    status: int = namespace.run(namespace)
    return status


def _extra_problem(extra: Sequence[str]) -> str:
    """What is wrong with arguments that no command takes. A value is not shown, because it may be a password."""
    options = [printable(text.partition("=")[0]) for text in extra if text.startswith("-")]
    if options:
        return f"there is no option {', '.join(options)}"
    number = "an argument" if len(extra) == 1 else f"{len(extra)} arguments"
    return f"{number} too many; a password is never an argument: if one was, choose another, for it is in the history"
