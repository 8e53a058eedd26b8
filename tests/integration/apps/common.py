"""What the served apps share: their scheme, their settings, and bodies that say who may read them."""

from __future__ import annotations

import os

from authguard import PEM, Bearer, Issuer
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, ISSUER

#: The variable with the public key of the tests' tokens.
PUBLIC_KEY = "TEST_PUBLIC_KEY"
#: The variable with the folder that StaticFiles serves.
TREE = "TEST_TREE"
#: Whether an app sets up its logging with the two lines of the documentation.
MORE_LOG = "TEST_MORE_LOG"
#: The variable with the path of the password file.
USERS = "TEST_USERS"
#: The variables with the settings of an app behind Digest.
DIGEST_ALGORITHMS = "TEST_DIGEST_ALGORITHMS"
DIGEST_PREFIX = "TEST_DIGEST_PREFIX"
DIGEST_QOP = "TEST_DIGEST_QOP"
DIGEST_SECRET = "TEST_DIGEST_SECRET"
#: The variables with the issuer name of an OpenID provider, and with the seconds for which its keys are fresh.
PROVIDER = "TEST_PROVIDER"
KEYS_AGE = "TEST_KEYS_AGE"
#: The variables with the URL of a Redis server, and with that of the database of revocations.
REDIS = "TEST_REDIS"
REVOCATIONS = "TEST_REVOCATIONS"
#: The variable with the URLs by which clients reach the app, separated by spaces.
PUBLIC_URL = "TEST_PUBLIC_URL"
#: The variable with who is believed to send a certificate in this header.
TRUSTED = "TEST_TRUSTED"
CERTIFICATE_HEADER = "X-Client-Cert"

FOR_ALL = "FOR-ALL"
FOR_USERS = "FOR-USERS-ALONE"
FOR_ADMINS = "FOR-ADMINS-ALONE"


def bearer(kind: type[Bearer] = Bearer) -> Bearer:
    """The only scheme of most apps."""
    keys = PEM(os.environ[PUBLIC_KEY])
    return kind(Issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=keys), realm="orders")


def clock() -> float:
    """The clock at which the tests mint their tokens."""
    return NOW


#: The secret of the webhook, and the greatest body that its receiver reads.
WEBHOOK_SECRET = b"b7b1c1f0-0d53-4c1c-a6a4-0f1c3e0b6c55"
BODY_LIMIT = 256 * 1024

#: A big stream has this many pieces, each made of a number and these bytes.
PIECES = 512
PIECE = bytes(range(256)) * 256
