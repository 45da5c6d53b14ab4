"""The command `limner`: one file a noun or verb, each a thin call of the public names.

Nothing here imports torch before a verb needs it, so that help and errors are quick. `app.py` gathers the verbs,
`flags.py` holds the flags they share, `terminal.py` what is written where.
"""

from limner.cli.app import main

__all__ = ["main"]
