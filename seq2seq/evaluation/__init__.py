"""Scores of a model, and figures of its states and attention."""
