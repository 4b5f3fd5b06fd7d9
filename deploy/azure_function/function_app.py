"""The scoring service as an Azure Function: the host checks the key, and hands each request to the ASGI app.

Models and limits come from the app settings, ONNX_PIPELINE_SERVE_MODELS and the others of docs/serving.md.
"""

from dataclasses import replace

import azure.functions as func

from onnx_pipeline.serving import ServingSettings, create_app

service = create_app(replace(ServingSettings.from_environment(), trust_host=True))
# Before the first request: a cold start is slow anyway, and a 503 in it would only make it slower.
service.catalogue.refresh()

app = func.AsgiFunctionApp(app=service, http_auth_level=func.AuthLevel.FUNCTION)
