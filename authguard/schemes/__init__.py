"""Schemes judge credentials; carriers find them."""
