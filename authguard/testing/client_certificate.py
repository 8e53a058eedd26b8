"""Make client certificates for tests, to which tokens are bound (RFC 8705)."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from authguard.wire.dpop_proof import base64url


class ClientCertificate:
    """The certificate of a client, to which tokens are bound: ``issuer.token("alice", cnf=certificate.cnf)``.

    Its key is a new one, and it has signed itself, unless there is an ``issuer``. It is valid for a day.
    ``certificate`` and ``key`` are objects of the library cryptography; ``der`` are the bytes of the certificate.
    """

    def __init__(self, name: str = "client", *, issuer: ClientCertificate | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.certificate.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        self.certificate: x509.Certificate = builder.sign(self.key if issuer is None else issuer.key, SHA256())
        self.der = self.certificate.public_bytes(Encoding.DER)

    @property
    def cnf(self) -> dict[str, str]:
        """The claim ``cnf`` of a token that is bound to this certificate (RFC 8705 section 3.1)."""
        return {"x5t#S256": base64url(sha256(self.der).digest())}

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def key_pem(self) -> str:
        """Its private key in PEM, for a client that speaks TLS."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")

    @property
    def rfc9440(self) -> str:
        """The value of ``Client-Cert`` with this certificate."""
        return f":{b64encode(self.der).decode('ascii')}:"

    @property
    def escaped_pem(self) -> str:
        """The certificate as nginx has it in ``$ssl_client_escaped_cert``."""
        return quote(self.pem, safe="")

    @property
    def extensions(self) -> dict[str, dict[str, Any]]:
        """``scope["extensions"]`` of a server that has the TLS extension of ASGI, and has seen this certificate."""
        name = self.certificate.subject.rfc4514_string()
        return {
            "tls": {
                "server_cert": None,
                "client_cert_chain": [self.pem],
                "client_cert_name": name,
                "client_cert_error": None,
                "tls_version": 0x0304,
                "cipher_suite": 0x1301,
            }
        }
