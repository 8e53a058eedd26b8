"""Header fields and tokens: parse bytes into values, and write values as bytes.

The package uses the standard library only: no ASGI, no I/O, no clock.
"""
