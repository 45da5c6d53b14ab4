"""What OpenAPI says of routes that read their bodies themselves; the answers of the Images API as types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Tree = dict[str, Any]


class AboutPicture(BaseModel):
    """limner's extension: where a picture comes from."""

    model: str
    seed: int
    index: int = Field(description="Under the seed, from 0.")
    size: str
    native_size: str = Field(description="As the model drew it.")
    resampled: bool


class AboutAnswer(BaseModel):
    """limner's extension: how an answer came about."""

    model: str = Field(description="The model that drew.")
    asked: str = Field(description="The name it was asked for by.")
    job: str
    ignored: list[str] | None = Field(None, description="Fields that these models have no use for.")


class PictureItem(BaseModel):
    """One picture: a url or its bytes."""

    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None
    limner: AboutPicture


class TokenDetails(BaseModel):
    """Tokens by kind."""

    text_tokens: int
    image_tokens: int


class Usage(BaseModel):
    """Tokens; a picture counts one for each 16 x 16 pixels."""

    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int
    output_tokens_details: TokenDetails
    total_tokens: int


class ImagesAnswer(BaseModel):
    """What a request without a stream is answered."""

    created: int
    data: list[PictureItem]
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    usage: Usage | None = None
    limner: AboutAnswer


class AboutModel(BaseModel):
    """limner's extension: what a model is."""

    model_config = ConfigDict(extra="allow")

    family: str
    summary: str
    licence: str
    sides: list[int]
    verbs: list[str]
    stands_for: str | None = Field(None, description="The model that draws for an alias.")


class ModelItem(BaseModel):
    """One model."""

    id: str
    object: str = "model"
    created: int
    owned_by: str
    limner: AboutModel


class ModelList(BaseModel):
    """All models."""

    object: str = "list"
    data: list[ModelItem]


def pictures(failures: Tree | dict[int | str, Tree]) -> dict[int | str, Tree]:
    """The answers of a route that draws."""
    stream = {"schema": {"type": "string", "description": "Server-sent events, when stream is true."}}
    return {200: {"model": ImagesAnswer, "content": {"text/event-stream": stream}}, **dict(failures.items())}


def json_body(kind: type[BaseModel]) -> Tree:
    """The description of a JSON body."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema(kind)}}}}


def form_body(kind: type[BaseModel], *, files: tuple[str, ...], required: tuple[str, ...]) -> Tree:
    """The description of a form with files; a name that ends in [] may come several times."""
    tree = schema(kind)
    # A form has no null: a field that is not wanted is left out.
    properties = {name: _present(each) for name, each in tree["properties"].items()}
    binary = {"type": "string", "format": "binary"}
    properties |= {name: {"type": "array", "items": binary} if name.endswith("[]") else binary for name in files}
    tree |= {"properties": properties, "required": [*tree.get("required", []), *required]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": tree}}}}


def schema(kind: type[BaseModel]) -> Tree:
    """The JSON schema of a body with everything in place, so that it can stand inside a route."""
    tree = kind.model_json_schema()
    inner = tree.pop("$defs", {})
    placed: Tree = _placed(tree, inner)
    return placed


def _placed(node: Any, inner: Tree) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return _placed(inner[node["$ref"].rpartition("/")[2]], inner)
        return {key: _placed(value, inner) for key, value in node.items()}
    return [_placed(each, inner) for each in node] if isinstance(node, list) else node


def _present(node: Tree) -> Tree:
    kinds = [each for each in node.get("anyOf", []) if each.get("type") != "null"]
    if not kinds:
        return node
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
    return {**rest, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}
