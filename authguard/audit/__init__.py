"""The audit of an app: what each of its routes requires, and findings with a fix."""
