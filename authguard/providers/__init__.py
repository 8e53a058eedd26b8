"""What the tokens of well-known identity providers look like, and which of them an API accepts.

Each module describes one provider: a function checks the arguments and returns a ``TokenProfile``. ``Issuer.auth0`` and
the other methods of that kind make an ``Issuer`` of it. Nothing here reads a token or a key.
"""
