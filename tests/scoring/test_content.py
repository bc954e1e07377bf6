"""What classes contain, by brute force over random labels and by cases counted by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cryoisac.model.poses import Poses
from cryoisac.scoring.content import (
    effective_number,
    held_views,
    majority_views,
    mostly_junk,
    named_junk,
    precision_recall,
    rare_views,
    shows_majority,
)
from cryoisac.scoring.files import Classification, KnownTruth, read_truth
from cryoisac.scoring.scores import score

DRAWS = pytest.mark.parametrize("seed", range(20))


def _draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    return rng.integers(-1, 6, n), rng.integers(-1, 5, n)


@DRAWS
def test_brute_force_majorities(seed: int) -> None:
    """Brute force: members of each class counted one by one."""
    label, view = _draw(seed)
    shown, held = np.zeros(len(label), dtype=bool), set()
    for k in set(label.tolist()) - {-1}:
        members = [i for i in range(len(label)) if label[i] == k]
        counts = Counter(view[i] for i in members)
        best = min(counts, key=lambda v: (-counts[v], v))
        assert majority_views(label, view)[k] == best
        if best < 0:
            continue
        for i in members:
            shown[i] = view[i] == best
        if 2 * counts[best] > (view == best).sum():
            held.add(int(best))
    np.testing.assert_array_equal(shows_majority(label, view), shown)
    assert set(held_views(label, view).tolist()) == held


@DRAWS
def test_brute_force_junk(seed: int) -> None:
    """Brute force: classes with more junk than half, and precision and recall by sets of images."""
    label, view = _draw(seed)
    junk = view < 0
    called = set()
    for k in set(label.tolist()) - {-1}:
        members = set(np.flatnonzero(label == k).tolist())
        if len(members & set(np.flatnonzero(junk).tolist())) > len(members) / 2:
            called |= members
    found = mostly_junk(label, junk)
    assert set(np.flatnonzero(found).tolist()) == called
    true = set(np.flatnonzero(junk).tolist())
    precision, recall = precision_recall(found, junk)
    assert precision == (len(called & true) / len(called) if called else None)
    assert recall == (len(called & true) / len(true) if true else None)


@DRAWS
def test_invariance_of_numbering(seed: int) -> None:
    """Invariance: what a class is called does not matter, nor the order of images."""
    label, view = _draw(seed)
    rng = np.random.default_rng(seed + 100)
    name, order = rng.permutation(9), rng.permutation(len(label))
    other = np.where(label >= 0, name[label], -1)[order]
    np.testing.assert_array_equal(shows_majority(other, view[order]), shows_majority(label, view)[order])
    np.testing.assert_array_equal(held_views(other, view[order]), held_views(label, view))
    assert effective_number(other) == pytest.approx(effective_number(label))


def test_known_truth_effective_number() -> None:
    """Known truth: k equal classes are k; halves and quarters are 2 sqrt 2; one huge class is little more than one."""
    assert effective_number(np.repeat(np.arange(7), 5)) == pytest.approx(7)
    assert effective_number(np.array([0, 0, 1, 2, -1])) == pytest.approx(2 * np.sqrt(2))
    assert 1 < effective_number(np.array([3] * 999 + [1])) < 1.01
    assert effective_number(np.array([-1, -1])) == 0


def test_known_truth_rare_views() -> None:
    """Known truth: one view of a tenth of the others is rare; equal ones, and one that holds most, are not."""
    view = np.repeat([-1, 0, 1, 2, 3], [40, 200, 2, 20, 20])
    np.testing.assert_array_equal(rare_views(view), [1])
    assert len(rare_views(np.repeat([0, 1], 5))) == 0
    assert len(rare_views(np.array([-1]))) == 0
    found = np.where(view == 1, 0, -1)
    assert held_views(found, view).tolist() == [1]
    half = found.copy()
    half[np.flatnonzero(view == 1)[0]] = -1  # one of two is no majority
    assert held_views(half, view).tolist() == []


def test_definition_named_junk() -> None:
    """Definition: a reason that begins with junk."""
    reason = np.array(["", "junk-like: below the noise", "unstable", "no junk", "junk"])
    np.testing.assert_array_equal(named_junk(reason, 5), [False, True, False, False, True])
    assert not named_junk(None, 5).any()


@pytest.fixture
def mixture(tmp_path: Path) -> KnownTruth:
    """Two molecules of two views of ten, and ten images of junk; the views look along z, x, z and x."""
    rows = ["index,image,view,molecule,junk,angle_deg,shift_x_px,shift_y_px,mirror,rot_deg,tilt_deg"]
    for i in range(50):
        view = i // 10 if i < 40 else -1
        pose = "0,0,0,0" if view >= 0 else "nan,nan,nan,-1"
        angles = f"0,{90 * (view % 2)}" if view >= 0 else "nan,nan"
        rows.append(f"{i},{i + 1:06d}@a.mrcs,{view},{view // 2},{'none' if view >= 0 else 'ice'},{pose},{angles}")
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    return read_truth(tmp_path / "truth.csv")


def test_known_truth_mixture_counted_by_hand(mixture: KnownTruth) -> None:
    """Known truth: molecules, junk called so and put together, and particles that are lost."""
    label = np.repeat([0, 0, 1, 1, 2], 10)  # a class a molecule, and one of junk
    label[:4] = 2  # four particles among the junk: 10 of 14
    label[40:42] = -1
    label[20:22] = -1
    reason = np.where(label >= 0, "", "unstable").astype("U20")
    reason[[20, 40]] = "junk-like"
    s = score(Classification(label=label, poses=Poses.identity(50), reason=reason), mixture)
    assert (s.molecules, s.views, s.classes, s.junk, s.named_junk, s.junk_classes) == (2, 4, 3, 10, 2, 1)
    assert s.particles_accounted == 38 / 40
    assert s.molecule_purity == 34 / 46  # 16 + 18, and none of the class of junk
    assert s.purity == (10 + 10) / 46
    assert (s.junk_precision, s.junk_recall) == (2 / 4, 2 / 10)
    assert (s.named_junk_precision, s.named_junk_recall) == (1 / 2, 1 / 10)
    assert (s.junk_classes_precision, s.junk_classes_recall) == (8 / 12, 8 / 10)
    assert (s.views_found, s.views_held, s.rare_views) == (2, 2, 0)


def test_known_truth_spread_counts_one_molecule_a_class(mixture: KnownTruth) -> None:
    """Known truth: directions of different molecules are not compared; the majority's are."""
    label = np.full(50, -1)
    label[:10] = 0  # the first molecule along z
    label[30:39] = 0  # the second along x
    s = score(Classification(label=label, poses=None), mixture)
    assert s.spread_deg == pytest.approx(0, abs=1e-6)
    assert s.molecule_purity == 10 / 19


def test_definition_molecule_of_old_tables(tmp_path: Path, mixture: KnownTruth) -> None:
    """Definition: a truth without molecules is of one."""
    lines = (tmp_path / "truth.csv").read_text().splitlines()
    cut = [",".join(cell for i, cell in enumerate(line.split(",")) if i != 3) for line in lines]
    (tmp_path / "truth.csv").write_text("\n".join(cut) + "\n")
    np.testing.assert_array_equal(read_truth(tmp_path / "truth.csv").molecule, np.minimum(mixture.molecule, 0))
