"""What the tests share: an ASGI driver, guards that keep their records, small schemes, keys and tokens, and servers."""
