-- Every model that was ever registered, with its bytes: the pool alone can tell what scored a row.
-- Text is UTF-8, which takes up to four bytes a character; Fabric has no NVARCHAR.
IF OBJECT_ID('onnx_models') IS NULL
CREATE TABLE onnx_models (
    id         BIGINT         NOT NULL,
    name       VARCHAR(1800)  NOT NULL,
    sha256     VARCHAR(64)    NOT NULL,
    model      VARBINARY(MAX) NOT NULL,
    created_at DATETIME2(6)   NOT NULL,
    signature  VARCHAR(MAX)   NOT NULL
);
