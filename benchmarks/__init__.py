"""Speed of this project beside its peers, measured in turns on one machine.

`python -m benchmarks --help` says how. Nothing here is imported by the package or its tests.
"""
