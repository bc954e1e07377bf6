"""``python -m cryoisac`` is the command ``cryoisac``."""

from cryoisac.cli.main import main

main()
