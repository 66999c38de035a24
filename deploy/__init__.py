"""What runs where: command line, configuration, pipeline, runner, telemetry."""
