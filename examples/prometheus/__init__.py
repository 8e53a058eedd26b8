"""An app whose decisions Prometheus counts, with alerts and a dashboard."""
