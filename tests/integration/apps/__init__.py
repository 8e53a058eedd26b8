"""The apps that the servers of these tests run: each is the ``app`` of a module."""
