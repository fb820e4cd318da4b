"""Score formats and the benchmark's frames, read as pieces."""
