"""One record for each decision, to the log and the hooks."""
