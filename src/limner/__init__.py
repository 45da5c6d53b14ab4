"""limner: the OpenAI text-to-image lineage in one library."""

__version__ = "0.1.0"
