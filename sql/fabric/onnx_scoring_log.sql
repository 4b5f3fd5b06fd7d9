-- One row per scoring, target and partition: what was scored last, by which model, from which rows.
-- Written in the transaction that loads the predictions; what is pending follows from it.
-- `target` is the table as the pool names it, `settings` a fingerprint of what beside the model decides a prediction,
-- `partitions` how the source was cut. They are NULL in rows of an earlier version.
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
    [statistics]   VARCHAR(MAX)  NOT NULL,
    target         VARCHAR(1800) NULL,
    settings       VARCHAR(450)  NULL,
    partitions     VARCHAR(8000) NULL
);
-- A log that stands from before gets the columns.
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'target')
ALTER TABLE onnx_scoring_log ADD target VARCHAR(1800) NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'settings')
ALTER TABLE onnx_scoring_log ADD settings VARCHAR(450) NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'partitions')
ALTER TABLE onnx_scoring_log ADD partitions VARCHAR(8000) NULL;
