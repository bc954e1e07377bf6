"""Random numbers from streams named by what they are for, never by who draws them.

Every draw of a run comes from ``stream(seed, purpose, *position)``, so the numbers are the same for any number of
threads, processes and batches, and after any interruption.
"""

import zlib

import numpy as np


def stream(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return the generator of one named stream.

    Parameters
    ----------
    seed : int
        The master seed of the run, >= 0.
    purpose : str
        What the numbers are for, such as ``"initial references"``.
    *position : int
        Where in the run: main iteration, generation, round, ... each >= 0.

    Returns
    -------
    numpy.random.Generator
        A generator at the start of its stream.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *position]))
