"""Values that lie far from the others."""

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

FAR = 8.0  # standard deviations beyond which an image is no particle like the others


def deviations(values: npt.ArrayLike) -> Float:
    """Return how far values lie from their median, in standard deviations as their quartiles give them.

    Parameters
    ----------
    values : array_like, shape (n,)
        Values of which fewer than a quarter are outliers on either side.

    Returns
    -------
    ndarray, shape (n,)
        (v - median) / ((q3 - q1) / 1.349): a normal distribution has its own standard deviation.
    """
    v = np.asarray(values, dtype=np.float64)
    if not len(v):
        return v
    low, middle, high = np.quantile(v, (0.25, 0.5, 0.75))
    scaled: Float = (v - middle) / max((high - low) / 1.349, 1e-12 * max(abs(middle), 1e-300))
    return scaled
