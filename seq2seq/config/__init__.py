"""Settings: names, types, ranges, and how Hydra and YAML become dataclasses. No TensorFlow."""
