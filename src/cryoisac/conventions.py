"""Every convention of this package, stated once. ``tests/test_conventions.py`` runs this page, one test a sentence.

Images       Arrays are ``[y, x]``, float32; x, the column index, runs fastest.
Centre       The centre of an image of side n is the pixel n // 2 along each axis, counted from 0.
Coordinates  A point of an image is (x, y) relative to the centre pixel, in pixels.
Poses        A pose carries a point of an image to its reference: x' = M^m (R(a) x + t): rotate, shift, then mirror.
Angles       R(a) = [[cos a, sin a], [-sin a, cos a]], a in degrees; positive turns the x axis towards -y.
Shifts       A shift (x, y) in pixels moves what is seen towards larger x and y; it is stored as before the mirror.
Mirror       M = diag(-1, 1): reversing x about the centre pixel; an even side keeps column 0.
Offsets      The offset of a pose is the point of the image that lands on the reference's centre: o = -R(-a) t.
RELION       psi = -a and origin = R(-a) t: shift the image by its origin, rotate by psi as RELION does, then mirror.
Projections  A mirrored image is its reference seen from behind: rot 0, tilt 180, psi -a; others have rot 0, tilt 0.
Frequencies  In cycles per pixel, 0 to 0.5; ring k of a spectrum of side n lies at k / n.
CTF          Positive defocus is underfocus; the CTF is positive at low frequency when particles are white.
Classes      A label counts classes from 0 and is -1 for an image in no class; files for people and RELION count from 1.
Text rows    ``angle shift_x shift_y mirror`` in working pixels; mirror is -1 for an image in no class.
Names        Lengths end in _px or _A, angles in _deg; n images, k classes, h rows, w columns, r rings.
"""
