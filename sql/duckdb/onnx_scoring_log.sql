-- One row per scoring, target and partition: what was scored last, by which model, from which rows.
-- Written in the transaction that loads the predictions; what is pending follows from it.
-- `target` is the table as the pool names it, `settings` a fingerprint of what beside the model decides a prediction,
-- `partitions` how the source was cut. They are NULL in rows of an earlier version.
CREATE TABLE IF NOT EXISTS onnx_scoring_log (
    scoring        VARCHAR   NOT NULL,
    partition_key  VARCHAR   NOT NULL,
    model_sha256   VARCHAR   NOT NULL,
    rows           BIGINT    NOT NULL,
    source_rows    BIGINT    NOT NULL,
    source_changed VARCHAR,
    seconds        DOUBLE    NOT NULL,
    run_id         VARCHAR   NOT NULL,
    scored_at      TIMESTAMP NOT NULL,
    statistics     VARCHAR   NOT NULL,
    target         VARCHAR,
    settings       VARCHAR,
    partitions     VARCHAR
);
-- A log that stands from before gets the columns.
ALTER TABLE onnx_scoring_log ADD COLUMN IF NOT EXISTS target VARCHAR;
ALTER TABLE onnx_scoring_log ADD COLUMN IF NOT EXISTS settings VARCHAR;
ALTER TABLE onnx_scoring_log ADD COLUMN IF NOT EXISTS partitions VARCHAR;
