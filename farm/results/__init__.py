"""Results of runs: merged, compared and remembered."""
