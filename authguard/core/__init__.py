"""The decision: which credentials, which scheme, granted or denied, and the response to a denial. No ASGI."""
