"""GET /v1/models and /v1/models/{id}: what can be asked to draw, by its own name or by one of OpenAI's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from limner.serving import aliases
from limner.serving.aliases import ALIASES
from limner.serving.describing import ModelItem, ModelList
from limner.serving.envelopes import responses
from limner.serving.server import Parts, Serving

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", summary="All models", response_model=ModelList, response_model_exclude_none=True, responses=responses(401, 403))
def list_models(serving: Parts) -> Any:
    """The models that are served, and the names of OpenAI's that they stand in for."""
    return {"object": "list", "data": [item for name in _names(serving) if (item := _item(serving, name))]}


@router.get(
    "/{name:path}",
    summary="One model",
    response_model=ModelItem,
    response_model_exclude_none=True,
    responses=responses(401, 403, 404),
)
def show_model(name: str, serving: Parts) -> Any:
    """What one model is, by a name with whatever signs are in it."""
    item = _item(serving, name)
    if item is None:
        raise aliases.unknown(name, serving.shelf.names())
    return item


def _names(serving: Serving) -> list[str]:
    return list(dict.fromkeys([*serving.shelf.names(), *ALIASES]))


def _item(serving: Serving, name: str) -> dict[str, Any] | None:
    """A model as the API tells it; None for a name that nothing is served by."""
    served = serving.shelf.names()
    model = aliases.drawn_by(name, serving.settings) if name not in served else name
    if model not in served:
        return None
    facts = serving.shelf.facts(model)
    about = {
        "family": facts.family,
        "summary": facts.summary,
        "licence": facts.licence,
        "sides": list(facts.sides),
        "verbs": list(facts.verbs),
        "stands_for": None if name == model else model,
    }
    return {"id": name, "object": "model", "created": facts.created, "owned_by": "limner", "limner": about}
