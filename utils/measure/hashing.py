"""Sequences of small numbers -> 64-bit numbers that are equal where the sequences are."""

import numpy as np


def mix(hashes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Hashes (N,) of sequences -> hashes of the same sequences, each with one more of `values` (N,) at its end.

    A multiplication and a shift, as in the finaliser of SplitMix64 (Steele et al. 2014). Of ten million different
    sequences hardly ever two have the same hash.
    """
    added = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ added) * np.uint64(0xBF58476D1CE4E5B9)
    return hashes ^ (hashes >> np.uint64(29))
