"""User accounts, and the stores that find them."""
