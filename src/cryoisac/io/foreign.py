"""Files that are known and not read: what they are, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoisac.errors import FormatError

SPIDER_FORMS = (1.0, 3.0, -1.0, -3.0, -7.0, -9.0, -11.0, -12.0, -21.0, -22.0)


@dataclass(frozen=True)
class Foreign:
    """One format that is known and not read.

    Parameters
    ----------
    name : str
        What the file is, with its article.
    advice : str
        What to do.
    is_it : callable, optional
        ``is_it(head)`` tells from the first bytes.
    suffixes : tuple of str
        Endings of the file's name, for what has no telling content.
    """

    name: str
    advice: str
    is_it: Callable[[bytes], bool] = lambda head: False
    suffixes: tuple[str, ...] = ()


def _begins(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _is_spider(head: bytes) -> bool:
    """Return whether the header is consistent: records times their length make its length, and the form is known."""
    for order in "<>" if len(head) >= 92 else "":
        words = np.frombuffer(head[:92], order + "f4")
        if words[4] in SPIDER_FORMS and words[21] > 0 and words[12] * words[22] == words[21]:
            return True
    return False


CONVERT = "convert it to an MRC stack (.mrcs)"
FOREIGN = (
    Foreign(
        "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`", _begins(b"version https://git-lfs")
    ),
    Foreign(
        "a cryoSPARC dataset or NumPy array",
        "export the particles from cryoSPARC as a RELION STAR file and give that",
        _begins(b"\x93NUMPY", b"\x94CSDAT"),
    ),
    Foreign("a TIFF or EER file", CONVERT, _begins(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    Foreign("a PNG picture", "give the particle stack itself", _begins(b"\x89PNG")),
    Foreign("a JPEG picture", "give the particle stack itself", _begins(b"\xff\xd8\xff")),
    Foreign("an XMIPP metadata file", "export it from Scipion as a RELION STAR file", _begins(b"# XMIPP_STAR")),
    Foreign("an SQLite database", "export the particles as a RELION STAR file", _begins(b"SQLite format 3")),
    Foreign("a SPIDER or XMIPP file", f"{CONVERT}, for instance with e2proc2d.py", _is_spider),
    Foreign(
        "an IMAGIC file (.hed and .img)",
        f"{CONVERT}, for instance with e2proc2d.py",
        suffixes=(".hed", ".img", ".imagic"),
    ),
    Foreign("a raw image or its description", CONVERT, suffixes=(".raw", ".inf")),
    Foreign("a zip archive", "give the file inside it", _begins(b"PK\3\4")),
)
READ = "MRC stacks (.mrcs), RELION particle tables (.star) and EMAN2 stacks (.hdf, bdb:) are read"


def told_by_content(path: Path, head: bytes) -> FormatError | None:
    """Return the error for a file whose first bytes tell that it is known and not read."""
    return next((_error(path, foreign) for foreign in FOREIGN if foreign.is_it(head)), None)


def told_by_name(path: Path) -> FormatError | None:
    """Return the error for a file whose name tells that it is known and not read."""
    name = path.name.lower()
    return next((_error(path, foreign) for foreign in FOREIGN if name.endswith(foreign.suffixes or "\0")), None)


def _error(path: Path, foreign: Foreign) -> FormatError:
    return FormatError(path, f"is {foreign.name}, which is not read; {foreign.advice}")


def refusal(path: Path, head: bytes) -> FormatError:
    """Return the error that says what a file is, if that is known, and what to give instead."""
    unknown = FormatError(path, f"is of an unknown format; {READ}")
    return told_by_content(path, head) or told_by_name(path) or unknown
