"""The estimator, as scikit-learn checks its own."""

from math import isqrt
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import cryoisac
from cryoisac.api.classes import Classes

NO_SQUARE = "its table has a number of columns that makes no square image"
EXPECTED_TO_FAIL = dict.fromkeys(
    (
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_fit_returns_self",
        "check_estimators_nan_inf",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_predict1d",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_pipeline_consistency",
        "check_readonly_memmap_input",
    ),
    NO_SQUARE,
)


class Plain(cryoisac.ISAC, BaseEstimator):
    """The estimator as it is; scikit-learn warns of one that does not inherit."""


class Padded(cryoisac.ISAC, BaseEstimator):
    """Rows of any length as images: filled up with zeros to the next square, so that scikit-learn's tables fit."""

    def _square(self, pixels):
        if pixels.ndim == 3:
            return pixels
        side = isqrt(pixels.shape[1] - 1) + 1
        return np.pad(pixels, ((0, 0), (0, side * side - pixels.shape[1]))).reshape(-1, side, side)


def by_first_pixel(images: Any, *, threads: int | None, **settings: Any) -> Classes:
    """Return two classes by a rule that needs no likeness to particles."""
    label = (images[:, 0, 0] > np.median(images[:, 0, 0])).astype(np.int64)
    number = np.zeros(len(label))
    return Classes(
        labels=label,
        reason=np.full(len(label), ""),
        poses=cryoisac.Poses.identity(len(label)),
        class_averages=np.zeros((2, *images.shape[1:]), dtype=np.float32),
        class_pixel_errors_px=np.zeros(2),
        pixel_errors_px=number,
        scores=number,
        membership_stability=number,
        nearest=label,
        rivals=label,
        ratio=1.0,
        record={},
    )


@parametrize_with_checks(
    [Plain(), Padded()], expected_failed_checks=lambda e: EXPECTED_TO_FAIL if isinstance(e, Plain) else {}
)
def test_checks_of_scikit_learn(estimator, check, monkeypatch):
    """Independent program: its checks of estimators, for which a stand-in classifies tables of few numbers.

    What fails only for want of square images passes where rows are filled up to squares.
    """
    monkeypatch.setattr("cryoisac.api.estimator.isac", by_first_pixel)
    check(estimator)


def test_images_are_classified_as_by_the_function(simulated):
    """Definition: labels, averages and poses of ``cryoisac.isac``, of square images or of rows of their pixels."""
    images, options = simulated.images, {"target_radius": 10, "target_nx": 28}
    found = cryoisac.isac(images, img_per_grp=30, rand_seed=3, **options)
    one = cryoisac.ISAC(img_per_grp=30, random_state=3, settings=options)
    assert one.fit(images.reshape(len(images), -1)) is one
    assert (one.labels_ == found.labels).all()
    assert (one.class_averages_ == found.class_averages).all()
    assert (one.poses_ == found.poses.rows()).all()
    assert one.n_features_in_ == images[0].size
    assert one.result_.record["settings"]["rand_seed"] == 3


def test_it_is_cloned_and_piped_without_inheriting(monkeypatch):
    """Independent program: scikit-learn takes the class as it is."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    monkeypatch.setattr("cryoisac.api.estimator.isac", by_first_pixel)
    mine = cryoisac.ISAC(radius=7, settings={"starts": 1})
    copy = clone(mine)
    assert copy is not mine
    assert copy.get_params() == mine.get_params()
    assert repr(copy) == "ISAC(radius=7, settings={'starts': 1})"
    images = np.random.default_rng(4).standard_normal((10, 6, 6))
    labels = make_pipeline(FunctionTransformer(lambda x: -x), copy.set_params(radius=None)).fit_predict(images)
    assert (labels == (-images[:, 0, 0] > np.median(-images[:, 0, 0]))).all()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((5, 10)), "no square image"),
        (np.zeros((5, 6, 7)), "7 x 6 px"),
        (np.full((5, 16), np.nan), "NaN"),
        (np.zeros(5), "2D array"),
    ],
)
def test_mistakes_are_value_errors(images, said):
    with pytest.raises(ValueError, match=said):
        cryoisac.ISAC().fit(images)
    with pytest.raises(ValueError, match="no parameter"):
        cryoisac.ISAC().set_params(rings=3)
