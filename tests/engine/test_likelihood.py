"""The likelihood of images on Fourier rings: its definition by brute force, known truths, invariance, errors."""

import numpy as np
import pytest
from torch_engines import needs_torch, torch_likelihood_engine

from cryoisac.engine.likelihood import PoseSearch, RingImages, gain_norms, shift_disc, used_rings
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.engine.likelihood_reference import LikelihoodReferenceEngine, frame_shift_px
from cryoisac.engine.native import instruction_sets
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses, pixel_error, wrap
from cryoisac.ops import hartley

STILL = np.zeros((1, 2))
ENGINES = {
    "definition": LikelihoodReferenceEngine,
    "torch": torch_likelihood_engine,
    **{
        name: lambda images, name=name: NativeLikelihoodEngine(images, 1, instructions=name)
        for name in instruction_sets()
    },
}


@pytest.fixture(params=[pytest.param(name, marks=needs_torch if name == "torch" else ()) for name in ENGINES])
def make(request):
    """Return a function that makes an engine."""
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def small():
    """Return rings of three references and of five images."""
    _, references, images, _, _ = world(np.random.default_rng(12), n=5)
    return references, images


class Blobs:
    """A sum of Gaussians without mean: known everywhere, band-limited, nothing far out."""

    width_px = 1.7

    def __init__(self, rng, reach_px, count=12, strength=1.0):
        radius, angle = reach_px * np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
        self.centres = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
        weights = rng.standard_normal(count)
        self.weights = strength * (weights - weights.mean())

    def draw(self, box, poses=None):
        """Return the images, one for each pose, that lie on this reference under it."""
        poses = Poses.identity(1) if poses is None else poses
        centres = poses.inverse().apply(np.broadcast_to(self.centres, (len(poses), *self.centres.shape)))
        line = np.arange(box) - box // 2
        x, y = (np.exp(-0.5 * ((line - centres[..., i, None]) / self.width_px) ** 2) for i in (0, 1))
        return np.einsum("b,nby,nbx->nyx", self.weights, y, x)


def on_rings(images, rings, ctf=1.0):
    """Return images on rings under the same CTF everywhere."""
    images = np.asarray(images)
    return RingImages(
        rings=rings,
        box_px=images.shape[-1],
        samples=hartley.ring_transform((ctf * images).astype(np.float32), rings),
        ctf2=np.full((len(images), len(rings.radii)), ctf**2, dtype=np.float32),
    )


def world(rng, *, box=36, classes=3, n=30, noise=1.0, strength=2.0, reach_px=2.0, first=1, last=17):
    """Return rings, references, their rings, noisy posed images on rings, classes and poses."""
    rings = hartley.transform_rings(last, first=first, box_px=box, support_px=box / 2)
    blobs = [Blobs(rng, box / 4, strength=strength) for _ in range(classes)]
    label = rng.integers(0, classes, n)
    poses = Poses(
        angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-reach_px, reach_px, (n, 2)), mirror=rng.random(n) < 0.5
    )
    images = np.concatenate([blobs[label[i]].draw(box, poses[i : i + 1]) for i in range(n)])
    images += noise * rng.standard_normal(images.shape)
    references = hartley.ring_transform(np.concatenate([b.draw(box) for b in blobs]), rings)
    return blobs, references, on_rings(images, rings), label, poses


@pytest.mark.parametrize("box", [32, 31])
@pytest.mark.parametrize("ctf", [1.0, 0.6])
def test_gain_is_the_log_likelihood_difference(make, box, ctf):
    """Definition by brute force: sums over pixels, with and without the reference drawn at every pose of the search."""
    rng = np.random.default_rng(box)
    blobs = Blobs(rng, 6)
    rings = hartley.transform_rings(box // 2 - 1, first=1, box_px=box, support_px=12)
    pose = Poses(angle_deg=np.array([77.0]), shift_px=np.array([[-1.25, -0.5]]), mirror=np.array([True]))
    image = ctf * blobs.draw(box, pose)[0] + 0.3 * rng.standard_normal((box, box))
    y, x = np.mgrid[:box, :box] - box // 2
    image *= np.hypot(x, y) < 12
    shift = np.array([1.25, -0.5])  # in the frame of the reference
    best = -np.inf
    for mirror in (False, True):
        angles = np.arange(rings.longest) * 360.0 / rings.longest
        own = np.tile(shift * [-1 if mirror else 1, 1], (len(angles), 1))
        drawn = ctf * blobs.draw(box, Poses(angle_deg=angles, shift_px=own, mirror=np.full(len(angles), mirror)))
        gains = 0.5 * (image**2).sum() - 0.5 * ((image - drawn) ** 2).sum(axis=(1, 2))
        best = max(best, gains.max())
    engine = make(on_rings(image[None], rings, ctf))
    references = hartley.ring_transform(blobs.draw(box), rings)
    search = PoseSearch(last_ring=rings.radii[-1], shifts_px=shift[None])
    score = engine.score(references, np.zeros(1, np.int64), search)
    # rings a Fourier pixel apart integrate an image of 31 px to 5e-4, of 64 px to 3e-5; of a reference's energy, here
    # twice the gain, the native engine may lose 1e-3, and noise along that part spreads by its square root
    loss = 0.0 if isinstance(engine, LikelihoodReferenceEngine) else 2e-3 * best
    np.testing.assert_allclose(score, best, rtol=1e-3, atol=loss + np.sqrt(loss))


def test_truth_is_found_within_what_noise_allows(make):
    """Known truth: classes and mirrors are right, and poses deviate as the Fisher information says."""
    rng = np.random.default_rng(3)
    blobs, references, images, label, poses = world(rng, n=60)
    rows, search = np.arange(60), PoseSearch(last_ring=14, shifts_px=shift_disc(3, 1))
    engine = make(images)
    assert (engine.score(references, rows, search).argmax(axis=1) == label).all()
    coarse = engine.match(references, label, rows, search)
    found = engine.refine(references, label, rows, coarse.poses, 17)
    assert (coarse.poses.mirror == poses.mirror).all()
    assert np.median(pixel_error(found.poses, poses, radius_px=9)) < np.median(
        pixel_error(coarse.poses, poses, radius_px=9)
    )
    turn = np.deg2rad(wrap(found.poses.angle_deg - poses.angle_deg + 180) - 180)
    error = np.column_stack((turn, found.poses.shift_px - poses.shift_px))
    misfit = [
        e @ information(blobs[c], 36, poses[i : i + 1]) @ e for i, (e, c) in enumerate(zip(error, label, strict=True))
    ]
    # chi square of three degrees: mean 3, standard error sqrt(6 / 60) = 0.32
    assert 2.0 < np.mean(misfit) < 4.0


def information(blobs, box, pose):
    """Return the Fisher information of (angle in radians, tx, ty) of a pose in unit noise, by central differences."""
    slopes = []
    for step in ([np.rad2deg(1e-4), 0, 0], [0, 1e-4, 0], [0, 0, 1e-4]):
        ends = [
            blobs.draw(
                box,
                Poses(
                    angle_deg=pose.angle_deg + sign * step[0],
                    shift_px=pose.shift_px + sign * np.array([step[1:]]),
                    mirror=pose.mirror,
                ),
            )[0]
            for sign in (1, -1)
        ]
        slopes.append(((ends[0] - ends[1]) / 2e-4).ravel())
    return np.array(slopes) @ np.array(slopes).T


def test_a_total_is_the_sum_of_images_laid_on_the_class(make):
    """Known truth: images drawn without noise, laid by their poses, give their reference again, once for each."""
    rng = np.random.default_rng(4)
    _, references, images, label, poses = world(rng, noise=0, n=25, classes=4)
    label[3] = -1
    kept = label >= 0
    total = make(images).total(label, np.arange(25), poses, 5)
    expected = np.bincount(label[kept], minlength=5)[:, None] * np.vstack((references, 0 * references[:1]))
    # blobs cut off by the box and by the ring's orders
    np.testing.assert_allclose(total, expected, atol=2e-3 * np.abs(references).max() * 10)


def test_refining_never_makes_worse(make):
    """Known truth: from anywhere, the gain rises or stays, and where it starts at the top the pose stays."""
    rng = np.random.default_rng(5)
    _, references, images, label, poses = world(rng)
    rows, engine = np.arange(30), make(images)
    top = engine.refine(references, label, rows, poses, 15)
    again = engine.refine(references, label, rows, top.poses, 15)
    level = 1e-6 * np.abs(top.score).max()  # float32 gains
    assert (again.score >= top.score - level).all()
    assert np.median(pixel_error(again.poses, top.poses, radius_px=9)) < 2e-3
    lost = Poses(angle_deg=rng.uniform(0, 360, 30), shift_px=rng.uniform(-9, 9, (30, 2)), mirror=poses.mirror)
    before = LikelihoodReferenceEngine(images).refine
    value = gain_at(images, references, label, lost, 15)
    assert (engine.refine(references, label, rows, lost, 15).score >= value - level).all()
    assert (before(references, label, rows, lost, 15).score >= value - level).all()


def gain_at(images, references, label, poses, last_ring):
    """Return the gain of images at poses, by laying their rings on the reference in float64."""
    rings = used_rings(images.rings, last_ring)
    size = sum(rings.lengths)
    few = RingImages(
        rings=rings, box_px=images.box_px, samples=images.samples[:, :size], ctf2=images.ctf2[:, : len(rings.radii)]
    )
    rows = np.arange(len(images))
    laid = LikelihoodReferenceEngine(few).total(rows, rows, poses, len(images))
    weight = np.repeat(rings.sample_weights, rings.lengths)
    norms = gain_norms(references, images.ctf2, rings)[rows, label]
    return (weight * references[label, :size] * laid).sum(axis=1) - norms


def test_match_tells_the_gain_of_its_pose(make):
    """Definition: laying the image by the pose that was found gives the gain that was said."""
    rng = np.random.default_rng(6)
    _, references, images, label, _ = world(rng)
    rows = np.arange(30)
    found = make(images).match(references, label, rows, PoseSearch(last_ring=15, shifts_px=shift_disc(3, 1.5)))
    value = gain_at(images, references, label, found.poses, 15)
    # between samples of the angle the gain is a little higher; the native engine may lose 1e-3 of energy
    np.testing.assert_allclose(found.score, value, atol=0.02 * np.abs(value).max())
    refined = make(images).refine(references, label, rows, found.poses, 15)
    np.testing.assert_allclose(
        refined.score, gain_at(images, references, label, refined.poses, 15), atol=1e-5 * np.abs(value).max()
    )


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_quarter_turns_change_only_the_angle(make, turn):
    """Invariance: an image turned by 90 degrees is found there, with the same gain."""
    rng = np.random.default_rng(7)
    pixels = rng.standard_normal((9, 35, 35))
    rings = hartley.transform_rings(15, first=2, box_px=35, support_px=17)
    references = hartley.ring_transform(Blobs(rng, 8, strength=3).draw(35), rings)
    rows, zero = np.arange(9), np.zeros(9, np.int64)
    search = PoseSearch(last_ring=15, shifts_px=shift_disc(2, 1))
    turned = np.rot90(pixels, turn, axes=(1, 2))  # from +x towards -y: by R(90) as poses turn
    a, b = (make(on_rings(p, rings)).match(references, zero, rows, search) for p in (pixels, turned))
    np.testing.assert_allclose(b.score, a.score, rtol=1e-5)
    assert (b.poses.mirror == a.poses.mirror).all()
    by = b.poses.angle_deg - a.poses.angle_deg
    assert (
        np.abs(wrap(by + 90 * turn + 180) - 180).max() < 0.02 or np.abs(wrap(by - 90 * turn + 180) - 180).max() < 0.02
    )
    np.testing.assert_array_equal(frame_shift_px(b.poses), frame_shift_px(a.poses))


def test_mirroring_changes_only_the_mirror(make):
    """Invariance: an image reversed in x is found mirrored, at the opposite angle and the same shift."""
    rng = np.random.default_rng(8)
    pixels = rng.standard_normal((9, 35, 35))
    rings = hartley.transform_rings(15, first=2, box_px=35, support_px=17)
    references = hartley.ring_transform(Blobs(rng, 8, strength=3).draw(35), rings)
    rows, zero = np.arange(9), np.zeros(9, np.int64)
    search = PoseSearch(last_ring=15, shifts_px=shift_disc(2, 1))
    a, b = (make(on_rings(p, rings)).match(references, zero, rows, search) for p in (pixels, pixels[:, :, ::-1]))
    np.testing.assert_allclose(b.score, a.score, rtol=1e-5)
    assert (b.poses.mirror != a.poses.mirror).all()
    assert np.abs(wrap(a.poses.angle_deg + b.poses.angle_deg + 180) - 180).max() < 0.02
    np.testing.assert_array_equal(frame_shift_px(b.poses), frame_shift_px(a.poses))


def test_without_mirrors_none_is_tried(make):
    """Known truth: mirrored images are not found mirrored where the search forbids it, and gain less."""
    rng = np.random.default_rng(9)
    _, references, images, label, poses = world(rng)
    shifts = shift_disc(3, 1)
    both, one = (
        make(images).match(references, label, np.arange(30), PoseSearch(last_ring=15, shifts_px=shifts, mirror=m))
        for m in (True, False)
    )
    assert not one.poses.mirror.any()
    assert (one.score[poses.mirror] < both.score[poses.mirror]).all()
    np.testing.assert_array_equal(one.score[~both.poses.mirror], both.score[~both.poses.mirror])


def test_an_empty_class_gains_nothing(make):
    """Known truth: a reference of zeros has gain 0 at a finite pose, alone and beside others."""
    rng = np.random.default_rng(10)
    _, references, images, _, poses = world(rng)
    references[1] = 0
    rows, ones = np.arange(30), np.ones(30, np.int64)
    engine, search = make(images), PoseSearch(last_ring=15, shifts_px=shift_disc(2, 1))
    assert (engine.score(references, rows, search)[:, 1] == 0).all()
    assert (engine.score(references[1:2], rows, search) == 0).all()
    found = engine.match(references, ones, rows, search)
    assert np.isfinite(found.poses.rows()).all()
    assert (found.score == 0).all()
    assert (engine.refine(references, ones, rows, poses, 15).score == 0).all()


def test_nothing_to_do(make):
    """Known truth: no rows."""
    _, references, images, _, _ = world(np.random.default_rng(11))
    none, engine = np.zeros(0, np.int64), make(images)
    search = PoseSearch(last_ring=15, shifts_px=STILL)
    assert engine.score(references, none, search).shape == (0, 3)
    assert len(engine.match(references, none, none, search).poses) == 0
    assert len(engine.refine(references, none, none, Poses.identity(0), 15).poses) == 0
    assert (engine.total(none, none, Poses.identity(0), 2) == 0).all()


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda e, r, n: e.score(r[:, 1:], n, PoseSearch(last_ring=9, shifts_px=STILL)), DataError),
        (lambda e, r, n: e.score(r[0], n, PoseSearch(last_ring=9, shifts_px=STILL)), DataError),
        (lambda e, r, n: e.score(r, n, PoseSearch(last_ring=0, shifts_px=STILL)), SettingError),
        (lambda e, r, n: e.score(r, n, PoseSearch(last_ring=9, shifts_px=STILL[:0])), SettingError),
        (lambda e, r, n: e.score(r, n, PoseSearch(last_ring=9, shifts_px=STILL[0])), SettingError),
        (lambda e, r, n: e.score(r, n, PoseSearch(last_ring=9, shifts_px=STILL + np.nan)), SettingError),
        (lambda e, r, n: e.match(r, n + 3, n, PoseSearch(last_ring=9, shifts_px=STILL)), DataError),
        (lambda e, r, n: e.match(r, n[1:], n, PoseSearch(last_ring=9, shifts_px=STILL)), DataError),
        (lambda e, r, n: e.refine(r, n - 1, n, Poses.identity(len(n)), 9), DataError),
        (lambda e, r, n: e.total(n, n, Poses.at_offsets(np.full((len(n), 2), np.nan)), 2), DataError),
        (lambda e, r, n: e.total(n + 2, n, Poses.identity(len(n)), 2), DataError),
    ],
)
def test_wrong_questions_are_refused(make, small, ask, error):
    references, images = small
    with pytest.raises(error):
        ask(make(images), references, np.zeros(5, np.int64))
