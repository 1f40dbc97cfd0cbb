"""Speed measurements of this project against Keras, PyTorch and yoyodyne on one machine.

Usage: `python -m benchmarks --help`. The package does not import this folder.
"""
