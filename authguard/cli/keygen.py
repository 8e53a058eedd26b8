"""``authguard keygen``: make a key pair that signs and verifies tokens."""

from __future__ import annotations

import argparse
from pathlib import Path

from authguard.cli.private_file import PUBLIC, NewFile, check_writable, write_files
from authguard.cli.signing_key import MAKES, SigningKey
from authguard.cli.terminal import note, write
from authguard.errors import ConfigurationError

DESCRIPTION = """Writes a new private key to a file that only its owner can read, and prints its public key.
The app gets the public key, PEM(...) or JWKSet(...); who signs tokens gets the private key.
A file that exists is not replaced without --force: what the old key has signed would be refused."""
EPILOG = """Examples:
  authguard keygen --public public.pem
  authguard keygen --algorithm ES256 --private login.pem
  authguard keygen --jwk --public jwks.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--algorithm",
        choices=list(MAKES),
        default="RS256",
        help="RS256 (the default; most issuers sign with it), ES256 (P-256) or EdDSA (Ed25519)",
    )
    parser.add_argument("--jwk", action="store_true", help="write a JWK, and print a JWK Set; the default is PEM")
    parser.add_argument(
        "--private", metavar="FILE", type=Path, help="the file of the private key: private.pem, or private.jwk"
    )
    parser.add_argument("--public", metavar="FILE", type=Path, help="write the public key to a file; do not print it")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(arguments: argparse.Namespace) -> int:
    """Write the private key, and write or print the public one. Raises ``ConfigurationError``."""
    private: Path = arguments.private or Path("private.jwk" if arguments.jwk else "private.pem")
    public: Path | None = arguments.public
    check_writable("--private", private, force=arguments.force)
    if public is not None:
        check_writable("--public", public, force=arguments.force)
        if public.resolve() == private.resolve():
            raise ConfigurationError("--public", f"{public} is the file of the private key; name another one")
    key = SigningKey.generate(arguments.algorithm)
    content = key.public_jwks() if arguments.jwk else key.public_pem()
    files = [NewFile("--private", private, key.private_jwk() if arguments.jwk else key.private_pem())]
    if public is not None:
        files.append(NewFile("--public", public, content, PUBLIC))
    write_files(files, force=arguments.force)
    note(f"{private}: a private key for {key.algorithm} that only you can read; keep it out of version control")
    if public is None:
        write(content.decode().removesuffix("\n"))
    else:
        note(f"{public}: its public key, for the app")
    return 0
