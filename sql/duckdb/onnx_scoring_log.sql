-- One row per scoring and partition: what was scored last, by which model, from which rows.
-- Written in the transaction that loads the predictions; what is pending follows from it.
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
    statistics     VARCHAR   NOT NULL
);
