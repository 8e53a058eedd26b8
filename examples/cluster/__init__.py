"""The tour that ``make demo-cluster`` runs: two workers behind nginx, which share in Redis what must count once."""
