"""Worker processes that do the measured work, each in its own environment.

A worker is started as `python -m benchmarks.workers.NAME '{"task": …}'`. This file imports
nothing, because the peers' environment has neither TensorFlow nor this project.
"""
