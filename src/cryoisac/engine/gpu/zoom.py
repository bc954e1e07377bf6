"""How many angles tell the best shift: as many as the orders need that hold nearly all of the references' energy."""

import numpy as np
import torch

from cryoisac.engine.radial import ANGLES_AN_ORDER, COARSE_LOSS, FEWEST_ANGLES


def coarse_angles(energy: torch.Tensor, longest: int) -> int:
    """Return how many angles, a power of two, hold the orders that matter for the choice of a shift.

    Parameters
    ----------
    energy : Tensor, shape (longest // 2 + 1,)
        Energy of each order.
    longest : int
        Most angles there are.

    Notes
    -----
    As ``RadialBasis.coarse_angles``.
    """
    own = energy.cpu().numpy().astype(np.float64)
    beyond = np.cumsum(own[::-1])[::-1] - own
    main_order = int(np.argmax(beyond <= COARSE_LOSS * own.sum()))
    needed = max(FEWEST_ANGLES, ANGLES_AN_ORDER * main_order)
    return min(longest, 1 << (needed - 1).bit_length())
