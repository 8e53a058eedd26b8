"""State that must count once: used nonces, login attempts. Each has a port and a memory adapter."""
