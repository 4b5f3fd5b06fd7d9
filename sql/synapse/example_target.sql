-- A target as a scoring with the key `encounter_id` and one output, `predicted_days`, would make it.
-- `target: {distribution: ..., index: ...}` in defs.yaml chooses the layout; this is the default one.
IF SCHEMA_ID('onnx') IS NULL EXEC('CREATE SCHEMA onnx');

IF OBJECT_ID('onnx.length_of_stay_predictions') IS NULL
CREATE TABLE onnx.length_of_stay_predictions (
    encounter_id   BIGINT        NOT NULL,
    predicted_days REAL          NULL,
    partition_key  NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    model_sha256   NVARCHAR(64)  NOT NULL,
    scored_at      DATETIME2(6)  NOT NULL,
    run_id         NVARCHAR(64)  NOT NULL,
    PRIMARY KEY NONCLUSTERED (partition_key, encounter_id) NOT ENFORCED
)
WITH (DISTRIBUTION = HASH(encounter_id), CLUSTERED COLUMNSTORE INDEX);
