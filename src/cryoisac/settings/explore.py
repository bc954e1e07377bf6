"""The settings of an exploration: unit, range, default and meaning, as in ``cryoisac.settings``."""

from dataclasses import dataclass
from typing import Annotated

from cryoisac.errors import SettingError
from cryoisac.settings.base import Setting, Settings


@dataclass(frozen=True, kw_only=True)
class Explore(Settings):
    """Settings of a look at the images of a finished classification."""

    reduction: Annotated[
        str,
        Setting(
            "How images are reduced to few numbers: by principal components, by multilinear ones, or by both in turn.",
            choices=("pca", "mpca", "twosdr"),
        ),
    ] = "twosdr"
    n_components: Annotated[
        int, Setting("Numbers to which an image is reduced; fewer where there are few images.", at_least=2, at_most=500)
    ] = 50
    rank: Annotated[
        int, Setting("Rows, and columns, to which mpca and twosdr reduce an image first.", at_least=2, at_most=200)
    ] = 25
    embedding: Annotated[
        str,
        Setting(
            "How these numbers become a point in the plane: by t-SNE, by UMAP, or as the first two of them.",
            choices=("tsne", "umap", "none"),
        ),
    ] = "tsne"
    neighbours: Annotated[
        int,
        Setting("About how many neighbours a point keeps: t-SNE's perplexity, UMAP's n_neighbors.", at_least=2),
    ] = 30
    sample: Annotated[
        int,
        Setting("Most images that become points; drawn from all classes alike.", "images", at_least=10, at_most=20000),
    ] = 5000
    seed: Annotated[int, Setting("Seed of all random numbers.", at_least=0, at_most=2**32 - 1)] = 0
    radius: Annotated[
        int | None,
        Setting("Particle radius in the input images.", "px", at_least=1, automatic="that of the run"),
    ] = None
    target_radius: Annotated[
        int, Setting("Particle radius in the images that are compared.", "px", at_least=8, at_most=200)
    ] = 29
    ctf: Annotated[
        bool | None,
        Setting("Flip phases where the CTF is negative.", automatic="as the run did"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, of, where in (("rank", "reduction", "pca"), ("neighbours", "embedding", "none")):
            if getattr(self, of) == where and getattr(self, name) != getattr(type(self), name):
                raise SettingError(f"--{name}", f"is {getattr(self, name)}, but --{of} {where} has no use for it")
        if self.reduction != "pca" and self.rank > 2 * self.target_radius:
            raise SettingError("--rank", f"is {self.rank}, above the {2 * self.target_radius} rows of the images")
        if self.reduction != "pca" and self.n_components > self.rank**2:
            raise SettingError(
                "--n-components", f"is {self.n_components}; --rank {self.rank} leaves no more than {self.rank**2}"
            )
