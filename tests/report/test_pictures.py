"""Images as pictures inside a page."""

import base64
from io import BytesIO

import numpy as np
import PIL.Image

from cryoisac.report.pictures import contact_sheet, data_uri, png, to_gray


def test_png_is_read_by_another_program():
    """Independent program: Pillow reads every gray value back."""
    gray = np.arange(7 * 37, dtype=np.int64).reshape(7, 37).astype(np.uint8)
    read = np.asarray(PIL.Image.open(BytesIO(png(gray)))) / 255.0
    assert (np.rint(255 * read).astype(np.uint8) == gray).all()


def test_png_holds_nothing_but_the_picture():
    """Definition: three chunks, no text, no time."""
    content = png(np.zeros((3, 5), dtype=np.uint8))
    kinds, at = [], 8
    while at < len(content):
        kinds.append(content[at + 4 : at + 8])
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert at == len(content)


def test_data_uri_holds_the_png():
    """Definition."""
    gray = np.full((4, 4), 9, dtype=np.uint8)
    kind, content = data_uri(gray).split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == png(gray)


def test_gray_ignores_scale_and_offset_and_uses_the_whole_range():
    """Invariance: contrast and brightness of an average do not show; each is stretched by itself."""
    images = np.random.default_rng(0).standard_normal((3, 40, 40)).astype(np.float32)
    gray = to_gray(images)
    assert (gray.reshape(3, -1).min(axis=1) == 0).all()
    assert (gray.reshape(3, -1).max(axis=1) == 255).all()
    again = to_gray(images * 4 + 8)
    assert np.abs(gray.astype(int) - again.astype(int)).max() <= 1  # rounding of float32


def test_constant_and_no_images():
    """Definition: a constant image is middle gray; no images are no pictures."""
    assert (to_gray(np.full((1, 5, 5), 3.0, dtype=np.float32)) == 128).all()
    assert to_gray(np.zeros((0, 5, 5), dtype=np.float32)).shape == (0, 5, 5)


def test_a_contact_sheet_holds_every_image_in_its_place():
    """Definition: row by row, a gap of 4 px around each, small images enlarged, empty places white."""
    images = np.random.default_rng(0).standard_normal((7, 30, 40)).astype(np.float32)
    sheet = contact_sheet(images)
    columns = (sheet.shape[1] - 4) // 124
    assert sheet.shape == (94 * -(-7 // columns) + 4, 124 * columns + 4)
    for i, gray in enumerate(to_gray(images.repeat(3, axis=1).repeat(3, axis=2))):
        y, x = 4 + 94 * (i // columns), 4 + 124 * (i % columns)
        assert (sheet[y : y + 90, x : x + 120] == gray).all()
    assert (sheet[:4] == 255).all()
    assert (sheet[-90:, -120:] == 255).all() == (7 % columns > 0)
    assert contact_sheet(images[:1]).shape == (98, 128)
