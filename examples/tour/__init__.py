"""The tour that ``make demo`` runs: its steps, their tokens and passwords, and the servers that answer them."""
