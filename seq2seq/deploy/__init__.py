"""Deployment: trained models that run without this package, in one format per file."""
