"""What applies to each route of an app, and what of that deserves a second look."""
