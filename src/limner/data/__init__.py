"""Training sets: endless numbered streams of captioned pictures; see `source` for the protocol."""

from limner.data.source import Source, View, open_source

__all__ = ["Source", "View", "open_source"]
