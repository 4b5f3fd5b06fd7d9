-- Every model that was ever registered, with its bytes: the pool alone can tell what scored a row.
IF OBJECT_ID('onnx_models') IS NULL
CREATE TABLE onnx_models (
    id         BIGINT         NOT NULL,
    name       NVARCHAR(450)  COLLATE Latin1_General_BIN2 NOT NULL,
    sha256     NVARCHAR(64)   NOT NULL,
    model      VARBINARY(MAX) NOT NULL,
    created_at DATETIME2(6)   NOT NULL,
    signature  NVARCHAR(MAX)  NOT NULL
);
