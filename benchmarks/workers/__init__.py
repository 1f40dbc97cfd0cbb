"""Processes that do the measured work, each in the environment of what it measures.

A worker is started as `python -m benchmarks.workers.NAME '{"task": …}'`. This package imports
nothing, because the peers' environment has neither TensorFlow nor this project.
"""
