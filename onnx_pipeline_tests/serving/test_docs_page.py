"""`/docs` draws the OpenAPI document from what the service itself holds."""

import re
from pathlib import Path

import pytest

from onnx_pipeline_tests.serving.conftest import Open, Service


def test_the_page_loads_everything_from_the_service(service: Service) -> None:
    page = service.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    references = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(references) == 3
    for reference in references:
        assert "//" not in reference
        assert service.get(f"/{reference}").status_code == 200
    assert "SwaggerUIBundle" in service.get("/docs/swagger-ui-bundle.js").text


@pytest.mark.parametrize("name", ["index.html", "__init__.py", "..%2Fapp.py", "swagger-ui.js"])
def test_nothing_else_is_there(service: Service, name: str) -> None:
    assert service.get(f"/docs/{name}").status_code == 404


def test_the_page_needs_no_key_and_shows_nothing_of_the_models(open_service: Open, tmp_path: Path) -> None:
    from onnx_pipeline.sample import MODELS

    service = open_service(MODELS, keys=frozenset({"the-key"}))
    assert "length_of_stay" not in service.get("/docs").text
    assert service.get("/openapi.json").status_code == 401


def test_without_swagger_ui_the_answer_says_what_to_install(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "swagger_ui", None)
    answer = service.get("/docs")
    assert answer.status_code == 404
    assert "pip install swagger-ui-py" in answer.json()["error"]["message"]
