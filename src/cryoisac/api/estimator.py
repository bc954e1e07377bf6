"""ISAC as scikit-learn's users know it: ``fit``, ``labels_``, ``get_params``."""

import inspect
from collections.abc import Mapping
from math import isqrt
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cryoisac.api.arrays import as_array
from cryoisac.api.classes import Classes, isac
from cryoisac.errors import CryoisacError

Images = npt.NDArray[np.float32]
FEWEST = 2


class ISAC:
    """Sort particle images into stable, homogeneous classes; images that belong nowhere get the label -1.

    Parameters
    ----------
    img_per_grp, minimum_grp_size : int, optional
        Particles of a class at first, and fewest members of a class.
    radius : int, optional
        Particle radius in pixels; by default it is found.
    random_state : int
        Seed of all random numbers; the same seed gives the same classes.
    threads : int, optional
        Threads; by default all cores that this process may use. The result does not depend on them.
    settings : mapping of str to object, optional
        Further settings of ``cryoisac.isac``, such as ``{"method": "isac2"}``.

    Attributes
    ----------
    labels_ : ndarray, shape (n,), int64
        Class of each image from 0; -1 for an image in no class.
    class_averages_ : ndarray, shape (k, h, w), float32
        Class averages.
    poses_ : ndarray, shape (n, 4)
        Rows ``angle_deg, x, y, mirror`` that lay members on their average; zeros for an image in no class.
    n_features_in_ : int
        Pixels of an image.
    result_ : Classes
        All that was found.

    Notes
    -----
    scikit-learn is not needed and not imported: the class has what its estimators have (parameters that are kept as
    they are given, ``get_params``, ``set_params``, tags when scikit-learn asks for them), so that ``clone``, pipelines
    and searches take it. Mistakes in the images raise ``ValueError``, as there.
    """

    _estimator_type = "clusterer"

    def __init__(
        self,
        *,
        img_per_grp: int | None = None,
        minimum_grp_size: int | None = None,
        radius: int | None = None,
        random_state: int = 0,
        threads: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.img_per_grp = img_per_grp
        self.minimum_grp_size = minimum_grp_size
        self.radius = radius
        self.random_state = random_state
        self.threads = threads
        self.settings = settings

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Classify images.

        Parameters
        ----------
        X : array_like, shape (n, h, h) or (n, h * h)
            Square images.
        y : object
            Not used.

        Returns
        -------
        ISAC
            The same object.

        Raises
        ------
        ValueError
            If the images cannot be classified.
        """
        pixels = _checked(X)
        images = self._square(pixels)
        try:
            found = isac(images, threads=self.threads, **self._settings())
        except CryoisacError as error:
            raise ValueError(str(error)) from error
        self.n_features_in_ = pixels[0].size
        self.labels_ = found.labels
        self.class_averages_ = found.class_averages
        self.poses_ = found.poses.rows()
        self.result_: Classes = found
        return self

    def fit_predict(self, X: npt.ArrayLike, y: object = None) -> npt.NDArray[np.int64]:
        """Classify images and return their labels, shape (n,); parameters as for ``fit``."""
        return self.fit(X, y).labels_

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, and return the same object; ``ValueError`` for a name that is none."""
        for name, value in params.items():
            if name not in self._names():
                raise ValueError(
                    f"{name!r} is no parameter of {type(self).__name__}; choose {', '.join(self._names())}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = [
            f"{name}={getattr(self, name)!r}"
            for name, known in inspect.signature(type(self).__init__).parameters.items()
            if name != "self" and getattr(self, name) is not known.default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn wants to know; called by nothing else."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def _settings(self) -> dict[str, Any]:
        """Return the settings that were given, by their names."""
        own = {"img_per_grp": self.img_per_grp, "minimum_grp_size": self.minimum_grp_size, "radius": self.radius}
        given = {name: value for name, value in own.items() if value is not None}
        return {"rand_seed": int(self.random_state), **given, **dict(self.settings or {})}

    def _square(self, pixels: Images) -> Images:
        """Return images, shape (n, h, h), of rows of pixels."""
        if pixels.ndim == 3:
            return pixels
        side = isqrt(pixels.shape[1])
        if side * side != pixels.shape[1]:
            raise ValueError(f"{pixels.shape[1]} pixels make no square image; give an array of shape (n, h, h)")
        return pixels.reshape(-1, side, side)


def _checked(X: npt.ArrayLike) -> Images:
    """Return an array of two or three dimensions, or raise ``ValueError`` in scikit-learn's words."""
    if hasattr(X, "toarray"):
        raise TypeError("Sparse data was passed, but images are dense; convert them with .toarray()")
    given = as_array(X)
    if np.iscomplexobj(given):
        raise ValueError("Complex data not supported: images are real numbers")
    if given.ndim not in (2, 3):
        raise ValueError(f"Expected 2D array of flattened images, or 3D array; got {given.ndim}D array: reshape it")
    if given.shape[0] < FEWEST:
        raise ValueError(f"Found array with {given.shape[0]} sample(s); a minimum of {FEWEST} is required: n_samples")
    if 0 in given.shape[1:]:
        raise ValueError(f"Found array with 0 feature(s) (shape={given.shape}) while a minimum of 1 is required.")
    pixels = given.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise ValueError("Input X contains NaN or infinity; leave such images out")
    return pixels
