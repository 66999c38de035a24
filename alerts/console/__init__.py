"""The operators' page: alerts with their evidence, live, over HTTP on this machine."""
