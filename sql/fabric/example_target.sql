-- A target as a scoring with the key `encounter_id` and one output, `predicted_days`, would make it.
-- Fabric takes a key only after the table, and does not enforce it: the load has checked it.
IF SCHEMA_ID('onnx') IS NULL EXEC('CREATE SCHEMA onnx');

IF OBJECT_ID('onnx.length_of_stay_predictions') IS NULL
CREATE TABLE onnx.length_of_stay_predictions (
    encounter_id   BIGINT        NOT NULL,
    predicted_days REAL          NULL,
    partition_key  VARCHAR(1800) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL,
    model_sha256   VARCHAR(256)  NOT NULL,
    scored_at      DATETIME2(6)  NOT NULL,
    run_id         VARCHAR(256)  NOT NULL
);

IF OBJECT_ID('onnx.pk_length_of_stay_predictions') IS NULL
ALTER TABLE onnx.length_of_stay_predictions
ADD CONSTRAINT pk_length_of_stay_predictions PRIMARY KEY NONCLUSTERED (partition_key, encounter_id) NOT ENFORCED;
