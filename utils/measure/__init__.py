"""How good is it: likelihood and its baselines, statistics, copying, the network of the ancestors, plots."""
