"""Bearer tokens (RFC 6750): signed JWTs and introspected opaque tokens."""
