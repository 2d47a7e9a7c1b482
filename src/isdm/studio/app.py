"""The studio's addresses: what the page asks, and who answers."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from isdm.errors import DataError, IsdmError, OutputError
from isdm.studio.bench import Bench
from isdm.studio.browsing import Browser
from isdm.studio.defects import find_defects
from isdm.studio.guard import Guard
from isdm.studio.jobs import Job, Painter
from isdm.studio.photographs import MOST_BYTES, Photographs
from isdm.studio.pictures import png
from isdm.studio.saving import PaintedPairs

STATIC = Path(str(resources.files("isdm.studio").joinpath("static")))
MOST_JSON_BYTES = 64_000_000
"""A mask of 4096x4096 pixels in base64 fits."""

Answer = Callable[[Request], Awaitable[Response]]


def make_app(bench: Bench, token: str | None = None) -> Guard:
    """The application for one model; without a token it answers on loopback names only.

    Raises:
        OutputError: the folder for painted pairs holds something else.
    """
    photographs, painter = Photographs(bench), Painter(bench)
    painted = PaintedPairs(bench, photographs)
    painted.count()
    browser = None if bench.synthetic is None else Browser(bench.synthetic, bench.dataset)

    def state() -> dict[str, Any]:
        model = bench.model_info
        return {
            "model": bench.model.resolve().name,
            "height": bench.size[0],
            "width": bench.size[1],
            "classes": [{"id": one.id, "name": one.name, "colour": list(one.colour)} for one in bench.info.classes],
            "first_foreground": bench.info.first_foreground,
            "can_guide": model.drop_rate > 0,
            "photographs": photographs.names,
            "out": str(bench.out),
            "painted": painted.count(),
            "inputs": painted.inputs,
            "judges": browser is not None,
        }

    def defects() -> list[dict[str, Any]]:
        return [] if bench.dataset is None else [defect.as_json() for defect in find_defects(bench.dataset)]

    def add_job(values: dict[str, Any]) -> dict[str, Any]:
        key = values.get("photograph")
        return painter.add(values, None if key is None else photographs.get(str(key))).as_json()

    def job_picture(number: int, variant: int) -> bytes:
        pictures = painter.get(number).pictures
        if not 0 <= variant < len(pictures):
            raise DataError(f"Job {number} has no picture {variant + 1} yet; wait a moment.")
        return pictures[variant]

    def save(job: Job, variant: int) -> dict[str, Any]:
        return {"file": painted.add(job, variant), "painted": painted.count(), "out": str(bench.out)}

    def photograph_json(key: str) -> dict[str, Any]:
        photograph = photographs.get(key)
        return {"key": key, "name": photograph.name, "mask": photograph.mask.ravel().tolist()}

    def pairs() -> Browser:
        if browser is None:
            raise DataError("No synthetic dataset is open; start the studio with --synthetic SYNTH.")
        return browser

    async def upload(request: Request) -> Response:
        name = Path(unquote(request.headers.get("x-file-name", "photograph"))).name[:100] or "photograph"
        content = await _body(request, MOST_BYTES, name)
        key = await run_in_threadpool(photographs.add, name, content)
        return JSONResponse(await run_in_threadpool(photograph_json, key))

    async def new_job(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(add_job, await _json(request)))

    async def verdict(request: Request) -> Response:
        values = await _json(request)
        await run_in_threadpool(pairs().judge, request.path_params["number"], str(values.get("verdict")))
        return JSONResponse({"saved": True})

    async def save_pair(request: Request) -> Response:
        job = painter.get(request.path_params["number"])
        return JSONResponse(await run_in_threadpool(save, job, request.path_params["variant"]))

    def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def read(answer: Callable[..., Any]) -> Callable[[Request], Response]:
        return lambda request: _reply(answer(**request.path_params))

    photo = "/api/photographs/{kind}/{number}"
    pair = "/api/pairs/{number:int}"
    job = "/api/jobs/{number:int}"
    routes = [
        Route("/", page),
        Route("/api/state", read(state)),
        Route("/api/defects", read(defects)),
        Route("/api/photographs", upload, methods=["POST"]),
        Route(photo, read(lambda kind, number: photograph_json(f"{kind}/{number}"))),
        Route(photo + "/image.png", read(lambda kind, number: png(photographs.get(f"{kind}/{number}").image))),
        Route("/api/jobs", new_job, methods=["POST"]),
        Route(job, read(lambda number: painter.get(number).as_json())),
        Route(job + "/cancel", read(lambda number: painter.cancel(number).as_json()), methods=["POST"]),
        Route(job + "/pictures/{variant:int}.png", read(job_picture)),
        Route(job + "/pictures/{variant:int}/save", save_pair, methods=["POST"]),
        Route("/api/pairs", read(lambda: pairs().listed())),
        Route(pair + "/image.png", read(lambda number: pairs().image(number))),
        Route(pair + "/outlined.png", read(lambda number: pairs().outlined(number))),
        Route(pair + "/nearest", read(lambda number: pairs().nearest(number))),
        Route(pair + "/verdict", verdict, methods=["POST"]),
        Route("/api/real/{number:int}.png", read(lambda number: pairs().real_image(number))),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        painter.close()

    return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers={IsdmError: _refuse}), token)


def _reply(value: Any) -> Response:
    return Response(value, media_type="image/png") if isinstance(value, bytes) else JSONResponse(value)


def _refuse(_: Request, error: Exception) -> Response:
    """What a person can mend, in the words that the command line would use."""
    status = 409 if isinstance(error, OutputError) else 400
    return JSONResponse({"error": str(error)}, status_code=status)


async def _body(request: Request, most_bytes: int, name: str) -> bytes:
    """The body of a request, refused as soon as it is too long."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most_bytes:
            raise DataError(
                f"{name} has more than {most_bytes / 1e6:.0f} MB, the most that is taken; make it smaller."
            )
    return bytes(content)


async def _json(request: Request) -> dict[str, Any]:
    try:
        values = json.loads(await _body(request, MOST_JSON_BYTES, "The request"))
    except (ValueError, RecursionError):
        raise DataError("The request is not JSON; reload the page.") from None
    if not isinstance(values, dict):
        raise DataError("The request is no JSON object; reload the page.")
    return values
