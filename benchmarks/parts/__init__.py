"""Parts of the benchmark; `run(context)` of each module measures and builds the tables."""
