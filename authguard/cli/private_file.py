"""Read and write files that hold a secret: nobody else can read them, and none is lost by accident."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from authguard.cli.terminal import note
from authguard.errors import ConfigurationError
from authguard.value_types import frozen

#: Only the owner can read and write it.
PRIVATE = 0o600
#: Everybody can read it, unless the umask forbids that.
PUBLIC = 0o644

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@frozen
class NewFile:
    """A file to write. ``argument`` names it in errors."""

    argument: str
    path: Path
    content: bytes = field(repr=False)
    mode: int = PRIVATE


def check_writable(argument: str, path: Path, *, force: bool) -> None:
    """Raise ``ConfigurationError`` if a file must not be written here: one exists, or it is no regular file."""
    if str(path) == "-":
        raise ConfigurationError(argument, "standard output is no file; name one")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        _check_folder(argument, path.parent)
        return
    except OSError as error:
        raise _problem(argument, path, error) from None
    if stat.S_ISLNK(mode):
        raise ConfigurationError(argument, f"{path} is a symbolic link; name the file itself, or another one")
    if not stat.S_ISREG(mode):
        kind = "a folder; name a file in it" if stat.S_ISDIR(mode) else "not a regular file; name another one"
        raise ConfigurationError(argument, f"{path} is {kind}")
    if not force:
        raise ConfigurationError(argument, f"{path} exists; name another file, or replace it with --force")
    _check_folder(argument, path.parent)


def _check_folder(argument: str, folder: Path) -> None:
    """Say if other users can replace files here: they could then give the app a key of their own."""
    with suppress(OSError):  # whoever opens the file then says so
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            note(f"{argument}: other users can replace files in {folder}; take that away: chmod o-w {folder}")


def write_files(files: Sequence[NewFile], *, force: bool) -> None:
    """Write all of the files, or none of them. Each has its mode from the beginning. Raises ``ConfigurationError``.

    ``force`` replaces files that exist, each at once: nobody reads half of one.
    """
    made: list[Path] = []
    try:
        for file in files:
            path = file.path.with_name(f".{file.path.name}.{secrets.token_hex(8)}") if force else file.path
            try:
                # O_EXCL follows no symbolic link, and fails if somebody has made the file since it was looked for.
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
                made.append(path)
                with os.fdopen(descriptor, "wb") as opened:
                    opened.write(file.content)
                    opened.flush()
                    os.fsync(descriptor)
            except OSError as error:
                raise _problem(file.argument, file.path, error) from None
        if force:
            for file, path in zip(files, made, strict=True):
                path.replace(file.path)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def read_file(argument: str, path: Path, *, most: int, fix: str) -> bytes:
    """The content of a file of at most ``most`` bytes. Other users who can read it are told about.

    ``fix`` says what to do if there is no such file. Raises ``ConfigurationError``.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(most + 1)
    except FileNotFoundError:
        raise ConfigurationError(argument, f"there is no file {path}; {fix}") from None
    except OSError as error:
        raise _problem(argument, path, error) from None
    if len(content) > most:
        raise ConfigurationError(
            argument, f"{path} has more than {most} bytes, so it is not what is wanted here; {fix}"
        )
    if os.name == "posix" and stat.S_ISREG(mode) and mode & _OTHERS:
        note(f"{argument}: other users can read {path}; take that away: chmod 600 {path}")
    return content


def _problem(argument: str, path: Path, error: OSError) -> ConfigurationError:
    match error:
        case FileExistsError():
            problem = "exists; name another file, or replace it with --force"
        case FileNotFoundError():
            problem = "cannot be written, because there is no such folder; make it, or name another one"
        case IsADirectoryError():
            problem = "is a folder; name a file in it"
        case PermissionError():
            problem = "cannot be opened, because you may not do that; name another one, or change its owner or mode"
        case _:
            problem = f"cannot be used: {error.strerror or type(error).__name__}; name another one"
    return ConfigurationError(argument, f"{path} {problem}")
