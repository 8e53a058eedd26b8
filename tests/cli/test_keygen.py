"""``authguard keygen``: the keys that it makes, and the files that it never harms."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import joserfc.jwk
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from authguard import PEM, ConfigurationError, JWKSet
from authguard.cli import private_file, signing_key
from tests.cli.programs import ENVIRONMENT, TIMEOUT, run, start

TYPES = {
    "RS256": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "ES256": (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey),
    "EdDSA": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
}


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- the keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", TYPES)
def test_a_pair_in_pem_is_made(algorithm: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The private key is in private.pem, and the public one is printed. ``PEM(...)`` reads it for this algorithm."""
    assert run("keygen", "--algorithm", algorithm) == 0

    out, err = capsys.readouterr()
    private = load_pem_private_key((folder / "private.pem").read_bytes(), None)
    public = load_pem_public_key(out.encode())
    assert [type(key) for key in (private, public)] == [
        next(type(key) for key in (private, public) if isinstance(key, kind)) for kind in TYPES[algorithm]
    ]
    assert private.public_key() == public
    assert {key.algorithm for key in PEM(out).bind(frozenset({algorithm}))} == {algorithm}
    assert err == f"private.pem: a private key for {algorithm} that only you can read; keep it out of version control\n"


def test_the_default_is_what_most_issuers_sign_with(capsys: pytest.CaptureFixture[str]) -> None:
    """RSA with 2,048 bits, for RS256."""
    assert run("keygen") == 0

    key = load_pem_public_key(capsys.readouterr().out.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    assert (key.key_size, key.public_numbers().e) == (2048, 65537)


@pytest.mark.parametrize("algorithm", TYPES)
def test_a_pair_as_jwk_is_made(algorithm: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is a JWK Set that ``JWKSet(...)`` and joserfc read. The two keys have one id, the thumbprint."""
    assert run("keygen", "--jwk", "--algorithm", algorithm) == 0

    out = capsys.readouterr().out
    private: dict[str, Any] = json.loads((folder / "private.jwk").read_text())
    (public,) = json.loads(out)["keys"]
    theirs = joserfc.jwk.import_key(public)
    (ours,) = JWKSet(out).bind(frozenset({algorithm}))
    assert public.items() < private.items()
    assert "d" not in public
    assert (public["alg"], public["use"], public["kid"]) == (algorithm, "sig", theirs.thumbprint())
    assert (ours.algorithm, ours.kid) == (algorithm, public["kid"])
    assert joserfc.jwk.import_key(private).is_private


def test_the_numbers_of_a_jwk_have_their_full_length(folder: Path) -> None:
    """RFC 7518 section 6.2.1.2: a coordinate that begins with zeros keeps them. One of 128 does, so many are made."""
    coordinates = [
        member
        for _ in range(300)
        for name, member in json.loads(signing_key.SigningKey.generate("ES256").private_jwk()).items()
        if name in {"x", "y", "d"}
    ]

    assert {len(member) for member in coordinates} == {43}
    assert any(member.startswith("A") for member in coordinates)


def test_no_two_keys_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Each run makes a new one."""
    printed = []
    for name in ("one", "two"):
        assert run("keygen", "--private", name, "--algorithm", "EdDSA") == 0
        printed.append(capsys.readouterr().out)

    assert printed[0] != printed[1]


def test_the_public_key_may_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed then, and everybody may read the file."""
    before = os.umask(0o022)
    try:
        assert run("keygen", "--private", "k", "--public", "k.pub") == 0
    finally:
        os.umask(before)

    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "k.pub: its public key, for the app")
    assert [key.algorithm for key in PEM((folder / "k.pub").read_text()).bind(frozenset({"RS256"}))] == ["RS256"]
    assert (_mode(folder / "k"), _mode(folder / "k.pub")) == (0o600, 0o644)


# --- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--force",)], ids=["new", "replaced"])
def test_only_the_owner_can_ever_read_the_key(
    options: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened with its mode, in a folder that all can read, with a umask that forbids nothing."""
    if options:
        (folder / "private.pem").write_text("old")
        (folder / "private.pem").chmod(0o644)
    folder.chmod(0o755)
    before, modes, opened = os.umask(0), list[int](), os.fdopen

    def fdopen(descriptor: int, mode: str) -> Any:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return opened(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", fdopen)
    try:
        assert run("keygen", "--algorithm", "EdDSA", *options) == 0
    finally:
        os.umask(before)

    assert (modes, _mode(folder / "private.pem")) == ([0o600], 0o600)


@pytest.mark.parametrize(
    ("options", "argument", "name"),
    [
        ((), "--private", "private.pem"),
        (("--jwk",), "--private", "private.jwk"),
        (("--public", "public.pem"), "--public", "public.pem"),
    ],
)
def test_a_file_that_exists_is_kept(
    options: tuple[str, ...], argument: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the argument and the two ways out. No other file is made either."""
    (folder / name).write_text("kept")

    assert run("keygen", *options) == 2
    assert capsys.readouterr() == ("", f"{argument}: {name} exists; name another file, or replace it with --force\n")
    assert (folder / name).read_text() == "kept"
    assert [path.name for path in folder.iterdir()] == [name]


def test_force_replaces_both_files_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The new files take the place of the old ones, with their own modes. Nothing else is left in the folder."""
    for name in ("private.pem", "public.pem"):
        (folder / name).write_text("old")
        (folder / name).chmod(0o666)
    before = os.umask(0o022)
    try:
        assert run("keygen", "--public", "public.pem", "--force") == 0
    finally:
        os.umask(before)

    private = load_pem_private_key((folder / "private.pem").read_bytes(), None)
    public = load_pem_public_key((folder / "public.pem").read_bytes())
    assert private.public_key() == public
    assert {path.name: _mode(path) for path in folder.iterdir()} == {"private.pem": 0o600, "public.pem": 0o644}


@pytest.mark.parametrize("options", [(), ("--force",)])
@pytest.mark.parametrize("target", ["nowhere", "precious"])
def test_no_key_is_written_through_a_link(
    target: str, options: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a link to a file nor one to nothing is followed or replaced."""
    (folder / "precious").write_text("kept")
    (folder / "private.pem").symlink_to(target)

    assert run("keygen", *options) == 2
    assert capsys.readouterr().err.startswith("--private: private.pem is a symbolic link; name the file itself")
    assert ((folder / "precious").read_text(), (folder / "private.pem").is_symlink()) == ("kept", True)
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--private", "-"], "--private: standard output is no file; name one"),
        (["--private", "."], "--private: . is a folder; name a file in it"),
        (["--private", "/dev/null", "--force"], "--private: /dev/null is not a regular file; name another one"),
        (
            ["--private", "no/key"],
            "--private: no/key cannot be written, because there is no such folder; make it, or name another one",
        ),
        (["--private", "file/key"], "--private: file/key cannot be used: Not a directory; name another one"),
        (["--private", "x" * 300], f"--private: {'x' * 300} cannot be used: File name too long; name another one"),
        (["--private", "k", "--public", "./k"], "--public: k is the file of the private key; name another one"),
        (["--private", "k", "--public", "no/key"], "--public: no/key cannot be written, because there is no such"),
        (["--private", "a\x1b[31m\nb/c"], r"--private: a\x1b[31m\nb/c cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_is_an_error(
    options: list[str], error: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is one line with the argument and the fix, and nothing is left behind."""
    (folder / "file").touch()

    assert run("keygen", "--algorithm", "EdDSA", *options) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(error)
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("force", [False, True])
def test_a_link_that_somebody_makes_in_between_is_not_followed(force: bool, folder: Path) -> None:
    """Between the look and the opening. With ``--force`` the link itself is replaced."""
    (folder / "precious").write_text("kept")
    (folder / "k").symlink_to("precious")
    files = [private_file.NewFile("--private", Path("k"), b"key")]

    if force:
        private_file.write_files(files, force=True)
        assert ((folder / "k").is_symlink(), (folder / "k").read_text()) == (False, "key")
    else:
        with pytest.raises(ConfigurationError, match="--private: k exists"):
            private_file.write_files(files, force=False)

    assert (folder / "precious").read_text() == "kept"


def test_an_interrupt_leaves_no_half_of_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun is removed, and the old file is as it was."""
    (folder / "k").write_text("old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)

    assert run("keygen", "--private", "k", "--algorithm", "EdDSA", "--force") == 130
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("k", "old")]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "no"), "k cannot be opened, because you may not do that; name another one, or change"),
        (FileExistsError(17, "no"), "k exists; name another file, or replace it with --force"),
        (IsADirectoryError(21, "no"), "k is a folder; name a file in it"),
        (OSError(), "k cannot be used: OSError; name another one"),
    ],
)
def test_an_error_of_the_system_says_what_to_do(error: OSError, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if somebody makes the file between the look and the opening."""

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", fail)

    with pytest.raises(ConfigurationError) as raised:
        private_file.write_files([private_file.NewFile("--private", Path("k"), b"")], force=False)

    assert str(raised.value).startswith(f"--private: {text}")


def test_the_content_of_a_new_file_is_not_in_its_repr() -> None:
    """Nor is the key in that of a signing key."""
    key = signing_key.SigningKey.generate("EdDSA")

    assert "secret" not in repr(private_file.NewFile("--private", Path("k"), b"secret"))
    assert "material" not in repr(key)


@pytest.mark.parametrize(("mode", "told"), [(0o777, True), (0o1777, False), (0o755, False)])
@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_folder_in_which_others_can_replace_the_key_is_told(
    mode: int, told: bool, options: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key is written all the same. In a folder such as /tmp nobody can replace the files of others."""
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(mode)
    if options:
        (shared / "k").touch()

    assert run("keygen", "--private", "shared/k", "--algorithm", "EdDSA", *options) == 0
    assert (
        "--private: other users can replace files in shared; take that away: chmod o-w shared\n"
        in capsys.readouterr().err
    ) is told


AS_NOBODY = """
import os, sys
from authguard.cli import keygen, main
os.setuid(65534)
sys.exit(main(["keygen"]))
"""


@pytest.mark.peer
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write here")
def test_a_folder_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    """The error says that it is a matter of permissions. The program gives up its rights after it was imported."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o055)

    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("--private: private.pem cannot be opened, because you may not do that; ")


@pytest.mark.peer
def test_the_program_makes_a_pair(tmp_path: Path) -> None:
    """As a program it prints the public key alone to standard output, and the private key nowhere."""
    done = start("keygen", cwd=tmp_path)

    private = (tmp_path / "private.pem").read_text()
    assert (done.returncode, done.stdout.count("-----BEGIN")) == (0, 1)
    assert done.stdout.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert private.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert not [line for line in private.splitlines()[1:-1] if line in done.stdout + done.stderr]
