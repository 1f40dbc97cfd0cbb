"""Data: examples from files or generated tasks, vocabularies, and batches of ids."""
