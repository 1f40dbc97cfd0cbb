"""What can be set: names, types, ranges, values; no TensorFlow."""
