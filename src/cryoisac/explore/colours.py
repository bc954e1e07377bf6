"""Colours of classes: few that the colour-blind tell apart, or many by hue and lightness."""

import numpy as np
import numpy.typing as npt

FEW = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b3a000", "#7f7f7f")
LIGHTNESS = (0.52, 0.66, 0.78)
CHROMA, FIRST_HUE_deg = 0.13, 20.0
TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]]
)
TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.707614701],
    ]
)


def colours(count: int) -> list[str]:
    """Return a colour for each class, as ``#rrggbb``.

    Notes
    -----
    Up to eight: those of Okabe & Ito (https://jfly.uni-koeln.de/color), yellow darkened, gray for black. More: hues in
    the order of the classes, neighbours in three turns of lightness, in Ottosson's perceptual space (OKLCH).
    """
    if count <= len(FEW):
        return list(FEW[:count])
    place = np.arange(count)
    lightness = np.array(LIGHTNESS)[place % len(LIGHTNESS)]
    hue = np.deg2rad(FIRST_HUE_deg) + 2 * np.pi * place / count
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in _rgb(lightness, CHROMA, hue).tolist()]


def _rgb(lightness: npt.NDArray[np.float64], chroma: float, hue: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return red, green and blue, 0 to 255, of OKLCH colours, shape (k, 3)."""
    lab = np.stack((lightness, chroma * np.cos(hue), chroma * np.sin(hue)), axis=-1)
    linear = ((lab @ TO_LMS.T) ** 3 @ TO_RGB.T).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    values: npt.NDArray[np.int64] = np.rint(255 * encoded).astype(np.int64)
    return values
