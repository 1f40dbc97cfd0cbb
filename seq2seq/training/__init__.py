"""Training, from settings to a finished run."""
