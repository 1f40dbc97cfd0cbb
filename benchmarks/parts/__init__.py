"""The parts of the benchmark; each module has `run(context)`, which measures and makes tables."""
