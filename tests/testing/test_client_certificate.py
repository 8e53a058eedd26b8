"""The client certificates for tests are real ones."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authguard.testing import ClientCertificate


def test_a_certificate_and_its_key_belong_together() -> None:
    """A client that speaks TLS can use them, and a server can verify who has signed it."""
    authority = ClientCertificate("authority")
    client = ClientCertificate("alice", issuer=authority)
    loaded = x509.load_pem_x509_certificate(client.pem.encode())

    loaded.verify_directly_issued_by(authority.certificate)
    key = load_pem_private_key(client.key_pem.encode(), None)
    assert key.public_key() == loaded.public_key()
    assert client.cnf != authority.cnf
