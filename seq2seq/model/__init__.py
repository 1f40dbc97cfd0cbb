"""The model: from token ids to log-probabilities."""
