-- Every model that was ever registered, with its bytes: the pool alone can tell what scored a row.
CREATE TABLE IF NOT EXISTS onnx_models (
    id         BIGINT    NOT NULL,
    name       VARCHAR   NOT NULL,
    sha256     VARCHAR   NOT NULL,
    model      BLOB      NOT NULL,
    created_at TIMESTAMP NOT NULL,
    signature  VARCHAR   NOT NULL
);
