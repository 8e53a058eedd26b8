"""The audit: what truly applies to each thing that an app can serve, and what of that is worth a second look."""
