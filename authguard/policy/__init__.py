"""What a route asks of a principal, and which route asks what. Pure: no framework, no I/O."""
