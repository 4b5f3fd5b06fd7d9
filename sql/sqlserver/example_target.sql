-- A target as a scoring with the key `encounter_id` and one output, `predicted_days`, would make it.
-- A scoring makes its target itself; make it by hand to choose other indexes, a filegroup or partitions.
IF SCHEMA_ID('onnx') IS NULL EXEC('CREATE SCHEMA onnx');

IF OBJECT_ID('onnx.length_of_stay_predictions') IS NULL
CREATE TABLE onnx.length_of_stay_predictions (
    encounter_id   BIGINT        NOT NULL,
    predicted_days REAL          NULL,
    partition_key  NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    model_sha256   NVARCHAR(64)  NOT NULL,
    scored_at      DATETIME2(6)  NOT NULL,
    run_id         NVARCHAR(64)  NOT NULL
);

IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID('onnx.length_of_stay_predictions') AND type > 0)
CREATE CLUSTERED INDEX ix_partition_key ON onnx.length_of_stay_predictions (partition_key);
