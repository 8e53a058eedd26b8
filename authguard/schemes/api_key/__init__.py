"""API keys: as a scheme of their own, and as tokens under ``Bearer``."""
