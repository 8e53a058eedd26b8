"""Server processes and listeners on loopback, and a browser."""
