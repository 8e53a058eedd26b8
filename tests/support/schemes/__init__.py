"""Schemes, stores and credentials for the tests, one module for each scheme."""
