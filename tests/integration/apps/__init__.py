"""The apps that the servers of these tests serve: each is the ``app`` of a module."""
