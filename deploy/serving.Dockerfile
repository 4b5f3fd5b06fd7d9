# docker build --file deploy/serving.Dockerfile --tag onnx-scoring .
# docker run --publish 8000:8000 --volume "$PWD/models:/models:ro" --env ONNX_PIPELINE_SERVE_KEYS=<key> onnx-scoring
FROM python:3.12-slim

# Models of text (StringNormalizer) name a locale, by default en_US.UTF-8, which the image lacks; add your own here.
RUN apt-get update && apt-get install --yes --no-install-recommends locales \
    && echo "en_US.UTF-8 UTF-8" >> /etc/locale.gen && locale-gen \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 scoring
WORKDIR /app
# The requirements first: they change less often than the code, and take most of the time.
COPY deploy/serving-requirements.txt .
RUN pip install --no-cache-dir --requirement serving-requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY sql sql
COPY onnx_pipeline onnx_pipeline
RUN pip install --no-cache-dir --no-deps .

USER scoring
ENV ONNX_PIPELINE_SERVE_MODELS=/models PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
# Without a key it refuses to listen beyond the container: set ONNX_PIPELINE_SERVE_KEYS or ONNX_PIPELINE_SERVE_KEYS_FILE.
ENTRYPOINT ["onnx-pipeline", "serve", "--host", "0.0.0.0", "--port", "8000"]
