"""What SPHIRE's ISAC does that changes numbers, though another rule was meant or is better: one named rule a quirk.

The code asks ``settings.rules`` where a quirk would act; ``docs/parity.md`` says of each why ours differs.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The quirks that are kept; by default none.

    Parameters
    ----------
    small_box_without_range : bool
        No shift search makes the working box one pixel smaller, as a search of 2 px makes it one larger.
    sinc_about_corner : bool
        Images are shrunk by a windowed sinc about the corner pixel, which aliases and moves the centre, and enlarged
        after they were padded with a mean of their edge.
    flip_after_shrinking : bool
        For pre-alignment, phases are flipped on the shrunk images.
    quadratic_shift : bool
        Images are shifted by quadratic interpolation before they are shrunk for the working stack.
    whiten_only : bool
        Images of a phase plate are whitened, but their phases not flipped.
    shift_along_filaments : bool
        Pre-alignment moves segments along their filament as well as across it.
    stretched_frequencies : bool
        Ring k of the correlation of two averages of odd side n has the frequency k / (n - 1) instead of k / n.
    fixed_first_references : bool
        The images that are the first references are drawn by Python's generator from the seed 9023, whatever
        ``rand_seed`` is.
    play_all_iterations : bool
        No class leaves an alignment before its last iteration.
    chain_repeats : bool
        Each repeated alignment starts from the shifts that the one before found.
    unstable_keep_last : bool
        A member that is not stable keeps the pose of the last repeated alignment, even where its mirror was stable.
    fewest_members : int
        A class with fewer stable members is filled up to so many with random ones of its images, in no pose.
    settle_on_rise : bool
        A generation ends when the agreement rises by less than 0.05, not when it falls or stays the same.
    more_than_minimum : bool
        A class needs more than ``minimum_grp_size`` stable members.
    leftover_factor : float
        The images left over are counted so many times when they are too few for two classes.
    end_without_leftovers : bool
        The run ends when no stable image is left over in a class that was too small.
    """

    small_box_without_range: bool = False
    sinc_about_corner: bool = False
    flip_after_shrinking: bool = False
    quadratic_shift: bool = False
    whiten_only: bool = False
    shift_along_filaments: bool = False
    stretched_frequencies: bool = False
    fixed_first_references: bool = False
    play_all_iterations: bool = False
    chain_repeats: bool = False
    unstable_keep_last: bool = False
    fewest_members: int = 0
    settle_on_rise: bool = False
    more_than_minimum: bool = False
    leftover_factor: float = 1.0
    end_without_leftovers: bool = False


OURS = Rules()
SPHIRE = Rules(
    small_box_without_range=True,
    sinc_about_corner=True,
    flip_after_shrinking=True,
    quadratic_shift=True,
    whiten_only=True,
    shift_along_filaments=True,
    stretched_frequencies=True,
    fixed_first_references=True,
    play_all_iterations=True,
    chain_repeats=True,
    unstable_keep_last=True,
    fewest_members=5,
    settle_on_rise=True,
    more_than_minimum=True,
    leftover_factor=1.2,
    end_without_leftovers=True,
)
NAMED = {"none": OURS, "sphire": SPHIRE}
