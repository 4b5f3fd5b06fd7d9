-- Every model that was ever registered, with its bytes: the pool alone can tell what scored a row.
-- `sha256` is that of the bytes as they came. Where `form` is NULL, `model` is these bytes; else it is what they were
-- rewritten to: `normalised` is what ONNX Runtime and the external language run.
CREATE TABLE IF NOT EXISTS onnx_models (
    id         BIGINT    NOT NULL,
    name       VARCHAR   NOT NULL,
    sha256     VARCHAR   NOT NULL,
    model      BLOB      NOT NULL,
    created_at TIMESTAMP NOT NULL,
    signature  VARCHAR   NOT NULL,
    form       VARCHAR
);
-- A table that stands from before gets the column.
ALTER TABLE onnx_models ADD COLUMN IF NOT EXISTS form VARCHAR;
