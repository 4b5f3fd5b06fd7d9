"""`/docs`: the OpenAPI document as a page. Its script and its style come from packages: no other host is asked."""

from importlib import resources
from typing import TYPE_CHECKING

from starlette.types import Receive

from onnx_pipeline.serving.exchange import Exchange, Reply
from onnx_pipeline.serving.refusals import Refusal

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["DocsPage"]

_HEADERS = {
    # Swagger UI writes styles into elements and draws its pictures from data.
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "cache-control": "no-cache",
}
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_FROM_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")


class DocsPage:
    """The page and what it loads; each method takes the exchange, the path's parameters and the unread body."""

    async def page(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        """`GET /docs`. Raises Refusal where Swagger UI is not installed."""
        _swagger(_FROM_SWAGGER[0])
        page = resources.files(__name__).joinpath("index.html").read_bytes()
        return Reply(200, page, "text/html; charset=utf-8", _HEADERS)

    async def file(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        """`GET /docs/{file}`."""
        name = params["file"]
        if name == "start.js":
            found = resources.files(__name__).joinpath(name)
        elif name in _FROM_SWAGGER:
            found = _swagger(name)
        else:
            raise Refusal(404, "path_unknown", "there is nothing at this path; /docs is the page")
        return Reply(200, found.read_bytes(), _TYPES[name[name.rindex(".") :]], _HEADERS)


def _swagger(name: str) -> "Traversable":
    try:
        return resources.files("swagger_ui").joinpath("static").joinpath(name)
    except ModuleNotFoundError:
        raise Refusal(
            404, "docs_not_installed", "this page needs Swagger UI, which is not installed here: pip install "
            "swagger-ui-py; /openapi.json describes the same"
        ) from None  # fmt: skip
