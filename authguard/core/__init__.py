"""The decision: which credentials, which scheme, granted or denied, and the answer. No ASGI."""
