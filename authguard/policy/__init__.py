"""Policy: what a route requires of a principal, and which rule applies to a request. No framework and no I/O."""
