"""Evaluation: likelihood and its baselines, statistics, copying, the judge, the ancestors' network, plots."""
