"""How much one key may ask for: token buckets of requests and of pictures a minute.

The buckets lie beside the keys in `keys.sqlite`, so that replicas share them and a restart does not refill them.
"""

from __future__ import annotations

import math
import time
from typing import Literal, NamedTuple

from limner.serving.keys import KeyFile

Kind = Literal["requests", "pictures"]
MINUTE = 60.0
FORGET = 3600.0  # seconds after which a bucket nobody used is dropped; it was full long before


class Budget(NamedTuple):
    """What a bucket holds after a request took its share, or could not."""

    kind: Kind
    limit: int  # a minute; also what the bucket holds when full
    left: int
    full_in: float  # seconds until it is full again
    retry_after: float  # seconds until there is enough; 0 when the share was taken, infinite when it never can be

    @property
    def taken(self) -> bool:
        """Whether there was enough."""
        return self.retry_after == 0

    def headers(self) -> dict[str, str]:
        """What OpenAI's API says of limits, and when to try again."""
        told = {
            f"x-ratelimit-limit-{self.kind}": str(self.limit),
            f"x-ratelimit-remaining-{self.kind}": str(self.left),
            f"x-ratelimit-reset-{self.kind}": f"{self.full_in:.3f}s",
        }
        if self.taken:
            return told
        if math.isinf(self.retry_after):
            return told | {"x-should-retry": "false"}
        return told | {
            "retry-after": str(math.ceil(self.retry_after)),
            "retry-after-ms": str(math.ceil(1000 * self.retry_after)),
        }

    def refusal(self, wanted: int = 1) -> str:
        """Why there was not enough, in a line."""
        if math.isinf(self.retry_after):
            return f"{wanted} {self.kind} at once are more than the {self.limit} a minute that there may be; ask for fewer."
        return f"Rate limit reached: {self.limit} {self.kind} a minute. Try again in {math.ceil(self.retry_after)} s."


def spend(file: KeyFile, owner: str, limit: int | None, *, kind: Kind = "requests", cost: int = 1) -> Budget | None:
    """Take `cost` from an owner's bucket, all or nothing; None when there is no limit.

    A bucket holds a minute's worth and fills evenly, so a quiet client may send a burst of `limit` at once.
    """
    if limit is None:
        return None
    rate, now = limit / MINUTE, time.time()
    with file.writing() as database:
        row = database.execute("SELECT tokens, at FROM bucket WHERE owner = ? AND kind = ?", (owner, kind)).fetchone()
        held = min(float(limit), row[0] + max(0.0, now - row[1]) * rate) if row else float(limit)
        enough = held + 1e-9 >= cost  # a rounding of seconds is no reason to refuse
        held = max(0.0, held - cost) if enough else held
        database.execute("INSERT OR REPLACE INTO bucket VALUES (?, ?, ?, ?)", (owner, kind, held, now))
        if row is None:
            database.execute("DELETE FROM bucket WHERE at < ?", (now - FORGET,))
    wait = 0.0 if enough else math.inf if cost > limit else (cost - held) / rate
    return Budget(kind, limit, math.floor(held + 1e-9), (limit - held) / rate, wait)
