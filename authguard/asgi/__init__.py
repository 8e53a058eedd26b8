"""The ASGI side: one request through the app, locks on routes, what the router will read."""
