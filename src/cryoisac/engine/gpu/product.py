"""The core of every search: products over rings as matrices, one inverse transform for both mirrors, the maximum."""

import torch

from cryoisac.engine.gpu.layout import COMPLEX_BYTES, Folded, Layout

MOST_PRODUCTS = 1 << 15  # in one call: libraries had limits at 65,535
COPIES = 3  # of a correlation at once: its spectrum, its values, what the transform takes


def correlate(layout: Layout, references: Folded, images: Folded, groups: int, angles: int) -> torch.Tensor:
    """Return how the images of each group correlate with the references of that group, at some angles.

    Parameters
    ----------
    layout : Layout
        Their coefficients.
    references, images : Folded
        Group after group, as many in each.
    groups : int
        Groups g; of c references and n images each.
    angles : int
        Angles a, a power of two up to those of the longest ring; orders from half of them on are left out.

    Returns
    -------
    Tensor, shape (a, g, c, n, 2)
        Straight and mirrored correlations at the angles 360 i / a.
    """
    packed = torch.view_as_complex(spectrum_of(layout, references, images, groups, angles))
    return torch.view_as_real(torch.fft.ifft(packed, dim=0, norm="forward"))


def spectrum_of(layout: Layout, references: Folded, images: Folded, groups: int, angles: int) -> torch.Tensor:
    """Return what ``correlate`` transforms.

    Parameters
    ----------
    layout, references, images, groups, angles
        As for ``correlate``.

    Returns
    -------
    Tensor, shape (a, g, c, n, 2)
        Real and imaginary parts of all orders, the negative ones last.
    """
    c, n = references.up[0].shape[1] // groups, images.up[0].shape[1] // groups
    spectrum = torch.empty(angles, groups, c, 2 * n, device=images.up[0].device)
    orders = min(angles // 2, layout.longest // 2 + 1) if angles < layout.longest else layout.longest // 2 + 1
    for i, (block, up_y, down_y, up_x) in enumerate(
        zip(images.blocks, references.up, references.down, images.up, strict=True)
    ):
        count = min(block.last, orders) - block.first
        if count <= 0:
            break
        _multiply(up_y[:count], up_x[:count], spectrum[block.first : block.first + count])
        first, last = max(block.first, 1), min(block.last, (angles + 1) // 2)  # orders that have a negative
        if last > first:
            below = spectrum[angles - last + 1 : angles - first + 1]
            if images.down:
                _multiply(down_y[first - last :], images.down[i][first - last :], below)
            else:
                _multiply_turned(down_y[first - last :], up_x[first - block.first : last - block.first], below)
    known = min(orders, images.blocks[-1].last)
    spectrum[known : max(known, angles - known + 1)] = 0  # no orders there
    return spectrum.view(angles, groups, c, n, 2)


def _multiply(y: torch.Tensor, x: torch.Tensor, out: torch.Tensor) -> None:
    """Write the products over rings of references (o, g c, r) with images (o, g n, 2, r) to out (o, g, c, 2 n)."""
    orders, groups, c, columns = out.shape
    rings = y.shape[-1]
    left = y.reshape(orders * groups, c, rings)
    right = x.reshape(orders * groups, columns, rings).transpose(1, 2)
    result = out.view(orders * groups, c, columns)
    for first in range(0, orders * groups, MOST_PRODUCTS):
        part = slice(first, first + MOST_PRODUCTS)
        torch.bmm(left[part], right[part], out=result[part])


def _multiply_turned(y: torch.Tensor, x: torch.Tensor, out: torch.Tensor) -> None:
    """Do the same for orders that fall in y and out, with images x of rising orders: X- + i X+ is i conj(X+ + i X-)."""
    rising = torch.empty_like(out)
    _multiply(y.flip(0), x, rising)
    real, imaginary = rising.flip(0).unflatten(-1, (-1, 2)).unbind(-1)
    torch.stack((imaginary, real), dim=-1, out=out.unflatten(-1, (-1, 2)))


def curve_bytes(angles: int) -> int:
    """Return the bytes that one image on one reference at one shift takes while it is correlated."""
    return COPIES * COMPLEX_BYTES * angles


def top(curves: torch.Tensor, stride: int, mirror: bool) -> torch.Tensor:
    """Return the largest of correlations (a, ..., 2) over angles, of which every ``stride``-th counts, and mirrors."""
    if not mirror:
        return curves[::stride, ..., 0].amax(dim=0)
    if curves.stride(0) == curves.shape[-1]:
        return curves[::stride].amax(dim=(0, -1))  # angles and mirrors side by side, as cuFFT leaves them
    return curves[::stride].amax(dim=0).amax(dim=-1)


def last_largest(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Return where along a dimension the last of the largest values lies; 0 where one is not a number."""
    shape = [1] * values.dim()
    shape[dim] = values.shape[dim]
    place = torch.arange(values.shape[dim], device=values.device).view(shape)
    return torch.where(values == values.amax(dim=dim, keepdim=True), place, 0).amax(dim=dim)


def peaks(
    curves: torch.Tensor, open_curves: torch.Tensor, stride: int, mirror: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the peaks of single curves.

    Parameters
    ----------
    curves, open_curves : Tensor, shape (a, m, 2)
        Straight and mirrored correlations, and the same with minus infinity where a row may not go.
    stride : int
        Angles between those tried.
    mirror : bool
        Whether mirrored ones count.

    Returns
    -------
    score, index, flip : Tensor, shape (m,)
        The largest value, the last of equal ones; its angle; whether it is mirrored.
    around : Tensor, shape (7, m)
        Values at the seven angles around it.
    """
    best = open_curves[::stride].amax(dim=0)
    flip = best[:, 1] > best[:, 0] if mirror else torch.zeros_like(best[:, 0], dtype=torch.bool)
    index = last_largest(torch.where(flip, open_curves[::stride, :, 1], open_curves[::stride, :, 0]), 0) * stride
    near = (index + torch.arange(-3, 4, device=index.device)[:, None]) % len(curves)
    around = torch.gather(torch.where(flip, curves[..., 1], curves[..., 0]), 0, near)
    return around[3], index, flip, around
