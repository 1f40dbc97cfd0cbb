"""From ids to log-probabilities."""
