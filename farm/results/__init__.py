"""What is kept of runs, and compared."""
