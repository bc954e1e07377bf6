"""cryoisac: sort cryo-EM particle images into stable, homogeneous classes."""

__all__ = ["__version__"]

__version__ = "0.1.0"
