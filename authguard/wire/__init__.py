"""Octets to values and back. Standard library only: no ASGI, no I/O, no clock."""
