-- One row per scoring and partition: what was scored last, by which model, from which rows.
-- Written in the transaction that loads the predictions; what is pending follows from it.
-- Text is UTF-8, which takes up to four bytes a character; Fabric has no NVARCHAR.
IF OBJECT_ID('onnx_scoring_log') IS NULL
CREATE TABLE onnx_scoring_log (
    scoring        VARCHAR(1800) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL,
    partition_key  VARCHAR(1800) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL,
    model_sha256   VARCHAR(64)   NOT NULL,
    [rows]         BIGINT        NOT NULL,
    source_rows    BIGINT        NOT NULL,
    source_changed VARCHAR(1800) NULL,
    seconds        FLOAT         NOT NULL,
    run_id         VARCHAR(1800) NOT NULL,
    scored_at      DATETIME2(6)  NOT NULL,
    [statistics]   VARCHAR(MAX)  NOT NULL
);
