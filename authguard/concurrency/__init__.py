"""Threads, queues, limits and shared work. Nothing here belongs to one event loop."""
