"""The published contract: JSON Schema and AsyncAPI documents, generated from the code by `python -m alerts.schema`."""
