-- Every model that was ever registered, with its bytes: the pool alone can tell what scored a row.
-- `sha256` is that of the bytes as they came. Where `form` is NULL, `model` is these bytes; else it is what they were
-- rewritten to: `normalised` is what ONNX Runtime and the external language run.
-- Text is UTF-8, which takes up to four bytes a character; Fabric has no NVARCHAR.
IF OBJECT_ID('onnx_models') IS NULL
CREATE TABLE onnx_models (
    id         BIGINT         NOT NULL,
    name       VARCHAR(1800) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL,
    sha256     VARCHAR(64)    NOT NULL,
    model      VARBINARY(MAX) NOT NULL,
    created_at DATETIME2(6)   NOT NULL,
    signature  VARCHAR(MAX)   NOT NULL,
    form       VARCHAR(64)    NULL
);
-- A table that stands from before gets the column.
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_models') AND name = 'form')
ALTER TABLE onnx_models ADD form VARCHAR(64) NULL;
