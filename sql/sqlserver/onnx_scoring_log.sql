-- One row per scoring, target and partition: what was scored last, by which model, from which rows.
-- Written in the transaction that loads the predictions; what is pending follows from it.
-- `target` is the table as the pool names it, `settings` a fingerprint of what beside the model decides a prediction,
-- `partitions` how the source was cut. They are NULL in rows of an earlier version.
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
    [statistics]   NVARCHAR(MAX) NOT NULL,
    target         NVARCHAR(450) COLLATE Latin1_General_BIN2 NULL,
    settings       NVARCHAR(450) COLLATE Latin1_General_BIN2 NULL,
    partitions     NVARCHAR(4000) COLLATE Latin1_General_BIN2 NULL
);
-- A log that stands from before gets the columns.
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'target')
ALTER TABLE onnx_scoring_log ADD target NVARCHAR(450) COLLATE Latin1_General_BIN2 NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'settings')
ALTER TABLE onnx_scoring_log ADD settings NVARCHAR(450) COLLATE Latin1_General_BIN2 NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'partitions')
ALTER TABLE onnx_scoring_log ADD partitions NVARCHAR(4000) COLLATE Latin1_General_BIN2 NULL;
