-- One row per scoring and partition: what was scored last, by which model, from which rows.
-- Written in the transaction that loads the predictions; what is pending follows from it.
IF OBJECT_ID('onnx_scoring_log') IS NULL
CREATE TABLE onnx_scoring_log (
    scoring        NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    partition_key  NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    model_sha256   NVARCHAR(64)  NOT NULL,
    [rows]         BIGINT        NOT NULL,
    source_rows    BIGINT        NOT NULL,
    source_changed NVARCHAR(450) NULL,
    seconds        FLOAT         NOT NULL,
    run_id         NVARCHAR(450) NOT NULL,
    scored_at      DATETIME2(6)  NOT NULL,
    [statistics]   NVARCHAR(MAX) NOT NULL
);
