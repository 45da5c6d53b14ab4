"""Questions to the gallery: which pictures there are, which are liked, which are gone and can still be had back.

The tables are the server's (`serving/store.py`). What is deleted here is removed by the server's sweep after a day.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sqlmodel import col, func, or_, select

from limner.serving.store import Picture, Store, folded

Age = Literal["any time", "today", "this week", "this month"]
AGES: dict[Age, float | None] = {
    "any time": None,
    "today": 86_400,
    "this week": 7 * 86_400,
    "this month": 31 * 86_400,
}  # seconds


class Search(NamedTuple):
    """Which pictures to find."""

    text: str = ""  # words that the prompt or the model's name holds, in any order
    model: str = ""  # "" = any
    favourites: bool = False
    age: Age = "any time"


def find(store: Store, search: Search, *, most: int, now: float | None = None) -> list[Picture]:
    """The newest pictures that fit, at most so many."""
    now = time.time() if now is None else now
    asked = select(Picture).where(*_there(now))
    for word in search.text.split()[:20]:
        held = [func.instr(func.folded(column), _folded(word)) > 0 for column in (Picture.prompt, Picture.model)]
        asked = asked.where(or_(*held))
    if search.model:
        asked = asked.where(Picture.model == search.model)
    if search.favourites:
        asked = asked.where(col(Picture.favourite).is_(True))
    age = AGES[search.age]
    if age is not None:
        asked = asked.where(Picture.created >= now - age)
    with store.reading() as session:
        return list(session.exec(asked.order_by(col(Picture.created).desc(), col(Picture.id)).limit(most)))


def get(store: Store, picture: str) -> Picture | None:
    """A picture that is neither deleted nor swept."""
    with store.reading() as session:
        return session.exec(select(Picture).where(Picture.id == picture, *_there(time.time()))).first()


def models(store: Store) -> list[str]:
    """The models that have drawn what is there."""
    with store.reading() as session:
        return sorted(session.exec(select(Picture.model).where(*_there(time.time())).distinct()))


def like(store: Store, picture: str, liked: bool) -> bool:
    """Note whether a picture is a favourite; False when it is not there."""
    return _changed(store, picture, lambda row: setattr(row, "favourite", liked))


def delete(store: Store, picture: str) -> bool:
    """Take a picture out of the gallery; it can be had back for a day. False when it is not there."""
    return _changed(store, picture, lambda row: setattr(row, "deleted", time.time()))


def restore(store: Store, pictures: Sequence[str]) -> int:
    """Bring deleted pictures back; how many there still were."""
    with store.writing() as session:
        rows = session.exec(select(Picture).where(col(Picture.id).in_(pictures), col(Picture.deleted).is_not(None))).all()
        for row in rows:
            row.deleted = None
            session.add(row)
        return len(rows)


def _there(now: float) -> tuple[Any, ...]:
    return col(Picture.deleted).is_(None), or_(col(Picture.expires).is_(None), col(Picture.expires) > now)


def _changed(store: Store, picture: str, change: Any) -> bool:
    with store.writing() as session:
        row = session.get(Picture, picture)
        if row is None or row.deleted is not None:
            return False
        change(row)
        session.add(row)
        return True


def _folded(word: str) -> str:
    """A word as the tables compare it; half of a surrogate pair, which no prompt holds, is looked for by its number."""
    return folded(word.encode("utf-8", "backslashreplace").decode())
