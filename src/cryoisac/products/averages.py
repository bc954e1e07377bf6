"""Class averages as files: MRC and HDF stacks, and a STAR table of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.io.atomic import write_whole
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.star import write_star
from cryoisac.io.text_tables import write_table
from cryoisac.model.ledger import Ledger
from cryoisac.model.poses import Poses
from cryoisac.model.table import Metadata, Table
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.ordering import Ordering

Images = npt.NDArray[np.float32]
STACKS = (".mrcs", ".hdf")


def write_averages(
    stem: Path, averages: Images, ledger: Ledger, pixel_size_A: float | None, order: npt.NDArray[np.int64]
) -> None:
    """Write averages as ``<stem>.mrcs`` and ``<stem>.hdf``, the latter with ``members`` and ``n_objects``.

    Parameters
    ----------
    stem : Path
        Path without suffix.
    averages : ndarray, shape (k, h, w), float32
        Images in the order in which they are written.
    ledger : Ledger
        Says which input images are members of which class.
    pixel_size_A : float or None
        Working pixel size in Å.
    order : ndarray, shape (k,), int64
        Class (from 0) of each image.
    """
    if not len(averages):
        for suffix in STACKS:
            stem.with_suffix(suffix).unlink(missing_ok=True)
        return
    attributes: list[dict[str, Any]] = []
    for label in order.tolist():
        members = np.flatnonzero(ledger.label == label)
        attributes.append({"members": members.astype(np.int32), "n_objects": len(members), "ISAC_class_id": label})
    write_whole(stem.with_suffix(".mrcs"), lambda path: write_mrc_stack(path, averages, pixel_size_A))
    write_whole(stem.with_suffix(".hdf"), lambda path: write_hdf_stack(path, averages, pixel_size_A, attributes))


def write_average_table(
    path: Path, stack: str, sizes: npt.NDArray[np.int64], further: Mapping[str, npt.NDArray[np.float64]]
) -> None:
    """Write a STAR table of the class averages: image, class, share of the members, members, and what else is known.

    Parameters
    ----------
    path : Path
        File to write.
    stack : str
        Name of the stack of averages.
    sizes : ndarray, shape (k,)
        Members of each class.
    further : mapping of str to ndarray, shape (k,)
        Further columns by name, such as ``cryoisacPixelError``.
    """
    k = len(sizes)
    table = Table({})
    for name, cells in {
        "rlnReferenceImage": np.array([f"{i + 1:06d}@{stack}" for i in range(k)], dtype=np.str_),
        "rlnClassNumber": np.arange(1, k + 1),
        "rlnClassDistribution": sizes / max(int(sizes.sum()), 1),
        "rlnNrOfSignificantSamples": sizes,
        **further,
    }.items():
        table = table.with_column(name, cells)
    metadata = Metadata(table, particles_block="model_classes")
    write_whole(path, lambda temporary: write_star(temporary, metadata, image_root=None))


def ordered(averages: Images, ordering: Ordering) -> Images:
    """Return the averages in their circular order, each turned and mirrored to agree with its neighbours."""
    k = len(averages)
    poses = Poses(angle_deg=ordering.angle_deg, shift_px=np.zeros((k, 2)), mirror=ordering.mirror)
    turned: Images = rotate_shift(averages[ordering.order], poses).astype(np.float32)
    return turned


def write_chains(path: Path, ordering: Ordering) -> None:
    """Write ``chains_params.txt``: position, class from 0, angle, 0, 0, mirror."""
    k = len(ordering.order)
    columns = [np.arange(k), ordering.order, ordering.angle_deg, np.zeros(k), np.zeros(k), ordering.mirror]
    write_whole(path, lambda temporary: write_table(temporary, columns))
