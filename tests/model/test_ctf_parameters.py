"""CTF parameters and RELION's columns."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoisac.model.ctf import CtfParameters

DEFOCUS = st.floats(1_000, 60_000)


def _from(u, v, angle):
    return CtfParameters.from_relion(u, v, angle, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.07)


@given(DEFOCUS, DEFOCUS, st.floats(-180, 180), st.floats(0, 180))
def test_the_local_defocus_is_that_of_relion(u, v, angle, direction):
    """Definition: U cos²(θ - a) + V sin²(θ - a) in Å, as RELION's manual has it."""
    p = _from([u], [v], [angle])
    t = np.deg2rad(direction - angle)
    expected = u * np.cos(t) ** 2 + v * np.sin(t) ** 2
    turned = np.deg2rad(2 * (direction + p.astigmatism_angle_deg[0]))
    # tens of thousands of Å in float64, angles to 1e-13
    np.testing.assert_allclose(1e4 * (p.defocus_um - p.astigmatism_um / 2 * np.sin(turned)), expected, atol=1e-6)


@given(DEFOCUS, DEFOCUS, st.floats(0, 180, exclude_max=True))
def test_relion_columns_come_back(u, v, angle):
    """Invariance: the angle modulo 180."""
    back_u, back_v, back_angle = _from([u], [v], [angle]).to_relion()
    np.testing.assert_allclose((back_u[0], back_v[0]), (u, v), rtol=1e-12)
    turn = abs(back_angle[0] - angle) % 180
    assert min(turn, 180 - turn) < 1e-9


def test_one_number_serves_all_images():
    """Definition: columns are broadcast, and belong to the parameters alone."""
    p = _from([10_000.0, 12_000.0, 9_000.0], 11_000.0, 30.0)
    assert len(p) == 3
    np.testing.assert_allclose(p.defocus_um, [1.05, 1.15, 1.0])
    np.testing.assert_allclose(p.astigmatism_um, [0.1, -0.1, 0.2])
    np.testing.assert_array_equal(p.astigmatism_angle_deg, [15, 15, 15])
    np.testing.assert_array_equal(p.voltage_kV, [300, 300, 300])
    np.testing.assert_array_equal(p.phase_shift_deg, [0, 0, 0])
    assert p.voltage_kV.flags.writeable


def test_a_part_of_the_images():
    """Invariance: every field is cut alike."""
    p = _from([10_000.0, 12_000.0, 9_000.0], 11_000.0, 30.0)
    for index in (slice(1, 3), np.array([False, True, True]), np.array([1, 2])):
        np.testing.assert_allclose(p[index].defocus_um, [1.15, 1.0])
        assert all(len(getattr(p[index], name)) == 2 for name in vars(p))


@given(st.floats(-1, 1), st.floats(0, 180))
def test_a_phase_shift_goes_into_the_contrast(contrast, shift_deg):
    """Invariance: contrast and shift give the CTF at frequency 0, or the contrast alone that holds both."""
    p = replace(_from([10_000.0], 11_000.0, 30.0), amplitude_contrast=np.array([contrast]))
    p = replace(p, phase_shift_deg=np.array([shift_deg]))
    whole = p.whole_contrast()
    phase = np.arcsin(contrast) + np.pi * (contrast < 0) + np.deg2rad(shift_deg)
    if not 0 <= phase < np.pi:
        assert np.isnan(whole[0])
        return
    back = np.arcsin(whole[0]) + np.pi * (whole[0] < 0)
    # an arcsine near 1 halves the digits; a phase of 0 or 180 degrees is one contrast, of either sign
    assert np.sin(back) == pytest.approx(np.sin(phase), abs=1e-7)
    assert abs(np.cos(back)) == pytest.approx(abs(np.cos(phase)), abs=1e-6)
    if 1e-6 < phase < np.pi - 1e-6:
        assert back == pytest.approx(phase, abs=1e-6)


def test_without_a_phase_shift_contrast_stays():
    """Definition."""
    p = replace(_from([1e4] * 3, 1.1e4, 30.0), amplitude_contrast=np.array([0.07, 0.0, -0.3]))
    np.testing.assert_allclose(p.whole_contrast(), [0.07, 0.0, -0.3], atol=1e-12)
