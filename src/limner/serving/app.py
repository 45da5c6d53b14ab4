"""The server put together from its settings: parts, layers, routes. Nothing is loaded or drawn before it is started."""

from __future__ import annotations

import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from limner import __version__
from limner.errors import CheckpointError, ConfigError
from limner.serving import aliases, envelopes, guards, links, routes_images, routes_jobs, routes_models, safety
from limner.serving.keys import KeyFile
from limner.serving.makers import Maker
from limner.serving.queue import Queue
from limner.serving.server import Serving
from limner.serving.settings import ServeSettings
from limner.serving.shelf import Shelf
from limner.serving.store import Store
from limner.serving.tracing import Tracing

_ARENA_MAX = -8  # of malloc.h
PATIENCE = 10.0  # seconds for pictures that are being drawn when the server is told to stop


def create_app(settings: ServeSettings) -> FastAPI:
    """A server, not started yet; its parts are in `app.state.serving`.

    Raises: CheckpointError when a model that it shall serve is not there; LimnerError when its folder cannot be used.
    """
    serving = parts(settings)
    app = FastAPI(
        title="limner",
        version=__version__,
        description="The OpenAI Images API on one's own weights.",
        lifespan=_lifespan,
        docs_url=None,  # these pages would come from somebody else's server
        redoc_url=None,
    )
    app.state.serving = serving
    envelopes.install(app)
    _add_layers(app, serving)
    for prefix, shown in (("/v1", True), ("", False)):
        app.include_router(routes_images.router, prefix=prefix, include_in_schema=shown)
        app.include_router(routes_models.router, prefix=prefix, include_in_schema=shown)
    app.include_router(routes_images.files)
    app.include_router(routes_jobs.router)
    app.include_router(routes_jobs.signs)
    return app


def parts(settings: ServeSettings) -> Serving:
    """What a server is made of.

    Raises: as `create_app`.
    """
    shelf = Shelf(models=settings.models, memory_mb=settings.memory_mb, device=settings.device, dtype=settings.dtype)
    check_models(settings, shelf.names())
    store = Store(settings.data)
    maker = _maker(settings)
    policy = safety.load(settings.policy, classify=_classifier(settings.classifier))
    queue = Queue(store, shelf, bound=settings.bound, batch=settings.batch, policy=policy, maker=maker)
    queue.metrics.watch(queue)
    return Serving(settings, store, shelf, queue, links.of_folder(settings.data, settings.links_s), KeyFile(settings.data))


def _maker(settings: ServeSettings) -> Maker | None:
    """Who draws: this process (None), or replicas. Raises: LimnerError when Ray is not installed."""
    if settings.replicas is None:
        return None
    from limner.serving.replicas import Replicas

    return Replicas(settings, settings.replicas)


def _classifier(name: str | None) -> safety.Classifier | None:
    if name is None:
        return None
    from limner.serving import classifiers  # imports numpy, which takes a while

    return classifiers.load(name)


def check_models(settings: ServeSettings, served: list[str]) -> None:
    """Raises: CheckpointError when a name that OpenAI's stand for is not served; ConfigError for an alias that is none."""
    for alias in settings.aliases:
        if alias not in aliases.ALIASES:
            raise ConfigError(f"alias: '{alias}' is none of {', '.join(aliases.ALIASES)}")
    for name in (settings.model, *settings.aliases.values()):
        if name not in served:
            raise CheckpointError(f"model: '{name}' is not served; have: {', '.join(served) or 'none'}")


def _add_layers(app: FastAPI, serving: Serving) -> None:
    """What a request passes on its way in; the last one added is the first to see it."""
    settings = serving.settings
    hosts = guards.hosts_of(settings.host, settings.public_url, settings.allowed_hosts)
    app.add_middleware(
        guards.KeyGuard,
        keys=serving.keys,
        required=settings.keys_required,
        requests=settings.requests_a_minute,
        pictures=settings.pictures_a_minute,
    )
    if settings.cors_origins:
        told: Any = {"allow_methods": ["*"], "allow_headers": ["*"], "expose_headers": ["x-request-id", "retry-after"]}
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.cors_origins), **told)
    app.add_middleware(guards.BodyLimit, most=2 * settings.upload_mb * 2**20)
    app.add_middleware(guards.HouseRules, hosts=hosts, origins=settings.cors_origins)
    app.add_middleware(Tracing)


def share_memory_pools() -> None:
    """Let all threads take their memory from two pools of the C library, before most threads begin.

    glibc gives each thread one of eight pools a core, and every pool stays as large as the largest requests it ever held: under
    odd requests the memory of the server grew for as long as one looked. Nothing happens where MALLOC_ARENA_MAX says otherwise,
    or with another C library.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    serving: Serving = app.state.serving
    share_memory_pools()
    serving.queue.start()
    try:
        yield
    finally:
        serving.queue.stop(PATIENCE)
        serving.store.close()
        serving.keys.close()
