"""From a request to its predictions: find the model, receive the body, score it in a thread."""

from collections.abc import Callable

from starlette.types import Receive

from onnx_pipeline.base.inference_protocol import COLUMNS_HEADER, IN_ORDER, NULLS_HEADER, SHA256_HEADER
from onnx_pipeline.serving.catalogue import Catalogue
from onnx_pipeline.serving.exchange import Exchange, Reply
from onnx_pipeline.serving.formats import Answer, Asked, Format, check_v2, format_of, v2
from onnx_pipeline.serving.limits import Intake, ScoringThreads
from onnx_pipeline.serving.pages import check_version
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import BriefJob, Job, NotBriefError, ServedModel

__all__ = ["ScoringEndpoints"]

_SHA256, _NULLS, _COLUMNS = SHA256_HEADER.encode(), NULLS_HEADER.encode(), COLUMNS_HEADER.encode()
_LENGTH = v2.HEADER_LENGTH.encode()
_TINY = 8 * 1024
"""Bytes of a body that is read on the event loop: some 10 rows of 28 columns as records, which takes 0.1 ms."""


class ScoringEndpoints:
    """What all scoring endpoints share."""

    def __init__(self, catalogue: Catalogue, intake: Intake, threads: ScoringThreads) -> None:
        self._catalogue = catalogue
        self._intake = intake
        self._threads = threads

    async def score(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        """`POST /models/{name}/score`, and `POST /score` where one model is served."""
        served = self._model(exchange, params.get("name"))
        exchange.format, chosen = format_of(exchange.text(b"content-type"))
        return await self._answer(exchange, served, chosen, receive)

    async def infer(self, exchange: Exchange, params: dict[str, str], receive: Receive) -> Reply:
        """`POST /v2/models/{name}/infer`, perhaps of a version."""
        served = self._model(exchange, params["name"])
        check_version(served, params.get("version"))
        exchange.format = "v2"
        check_v2(exchange.text(b"content-type"))
        return await self._answer(exchange, served, v2.answer, receive)

    def _model(self, exchange: Exchange, name: str | None) -> ServedModel:
        """The model, if it is the one that the client expects. Raises Refusal."""
        served = self._catalogue.get(name)
        exchange.model, exchange.sha256 = served.name, served.model.sha256
        expected = exchange.text(_SHA256)
        if expected is not None and expected.lower() != served.model.sha256:
            raise Refusal(
                409, "model_differs", f"the request expects another version of the model; {served.name!r} is "
                f"{served.model.sha256} here",
            )  # fmt: skip
        return served

    async def _answer(self, exchange: Exchange, served: ServedModel, chosen: Format, receive: Receive) -> Reply:
        """The predictions. Raises Refusal and ClientGoneError."""
        if exchange.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refusal(415, "content_encoding_unknown", "send the body without Content-Encoding")
        accept_nan = _says(exchange, _NULLS, "nan")
        in_order = _says(exchange, _COLUMNS, IN_ORDER)
        memory = self._intake.memory
        is_json, is_binary = exchange.format != "arrow", _LENGTH in exchange.headers
        async with self._intake.body(receive, exchange.length, exchange.rest_of_body) as body:
            exchange.received = len(body)

            def work(job: Job) -> Answer:
                with memory.reading(body, is_json=is_json, is_binary=is_binary or not is_json, go_on=job.go_on):
                    return chosen(Asked(body, served, accept_nan, job, in_order, exchange.headers))

            answer = _at_once(work) if len(body) <= _TINY and served.pace.any_brief else None
            if answer is None:
                answer = await self._threads.run(work, receive)
        exchange.rows = answer.rows
        return Reply(200, answer.body, answer.media_type, answer.headers)


def _at_once(work: Callable[[Job], Answer]) -> Answer | None:
    """The answer, made on the event loop; None for rows that would hold it up."""
    try:
        return work(BriefJob())
    except NotBriefError:
        return None


def _says(exchange: Exchange, header: bytes, word: str) -> bool:
    """Whether the request has a header that knows one value."""
    value = exchange.text(header)
    if value is not None and value.strip().lower() != word:
        raise Refusal(400, "header_misfit", f"the header {header.decode()} has one value: {word}")
    return value is not None
