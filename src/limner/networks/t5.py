"""T5's text encoder, as it is in `transformers`, which is imported when the first one is built (DALL-E 3 reads with T5-XXL).

The only network that limner does not write out itself; only its settings and its place in a checkpoint are limner's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from limner.config import T5Settings
from limner.errors import ShapeError, UnsupportedError

if TYPE_CHECKING:
    from transformers import T5Config


class T5Encoder(nn.Module):
    """Token ids -> one feature a token, each seeing all of the text (T5 section 2.1; v1.1: gated GELU, no tied logits)."""

    def __init__(self, settings: T5Settings) -> None:
        super().__init__()
        self.settings = settings
        try:
            from transformers import T5EncoderModel
        except ImportError:
            raise UnsupportedError("T5: its encoder needs transformers; install it with: pip install 'limner[t5]'") from None
        # The stack alone: the whole model holds the table of tokens under two names.
        self.stack = T5EncoderModel(_config(settings)).encoder

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Features after the last norm.

        Shapes: ids [B L] int64, mask [B L] bool (True = word) -> [B L D].
        Raises: ShapeError when ids and mask do not fit each other.
        """
        if ids.ndim != 2 or ids.shape != mask.shape:
            raise ShapeError(f"text: expected ids and mask of one shape [B, L]; got {list(ids.shape)} and {list(mask.shape)}")
        out: Tensor = self.stack(input_ids=ids, attention_mask=mask.to(ids.dtype)).last_hidden_state
        return out


def _config(s: T5Settings) -> T5Config:
    from transformers import T5Config

    return T5Config(
        vocab_size=s.rows,
        d_model=s.width,
        num_layers=s.depth,
        num_heads=s.heads,
        d_kv=s.head_width,
        d_ff=s.hidden,
        feed_forward_proj="gated-gelu" if s.gated else "relu",
        relative_attention_num_buckets=s.buckets,
        relative_attention_max_distance=s.reach,
        use_cache=False,
    )
