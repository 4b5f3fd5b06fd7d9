SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') OPTION (LABEL = 'onnx_pipeline: reading the scoring log')

SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') OPTION (LABEL = 'onnx_pipeline: preparing table predictions')

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
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'target')
ALTER TABLE onnx_scoring_log ADD target NVARCHAR(450) COLLATE Latin1_General_BIN2 NULL

IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'settings')
ALTER TABLE onnx_scoring_log ADD settings NVARCHAR(450) COLLATE Latin1_General_BIN2 NULL

IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') AND name = 'partitions')
ALTER TABLE onnx_scoring_log ADD partitions NVARCHAR(4000) COLLATE Latin1_General_BIN2 NULL

SELECT s.name AS schema_name, o.name AS object_name FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.object_id = OBJECT_ID(?) OPTION (LABEL = 'onnx_pipeline: preparing table predictions')

SELECT SCHEMA_NAME() AS name OPTION (LABEL = 'onnx_pipeline: preparing table predictions')

CREATE TABLE [predictions] (
    [id] BIGINT NOT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(4000) NULL,
    [partition_key] NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    [model_sha256] NVARCHAR(64) NOT NULL,
    [scored_at] DATETIME2(6) NOT NULL,
    [run_id] NVARCHAR(64) NOT NULL,
    PRIMARY KEY NONCLUSTERED ([partition_key], [id]) NOT ENFORCED
)
WITH (DISTRIBUTION = HASH([id]), CLUSTERED COLUMNSTORE INDEX)

SELECT SCHEMA_NAME() AS name OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT s.name AS schema_name, t.name AS table_name FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE LEFT(t.name, ?) = ? AND t.create_date < DATEADD(HOUR, ?, GETDATE()) OPTION (LABEL = 'onnx_pipeline: loading predictions')

IF OBJECT_ID('[dbo].[onnx_staging_6182e28618dc090f_run1_0]') IS NOT NULL DROP TABLE [dbo].[onnx_staging_6182e28618dc090f_run1_0]

CREATE TABLE [dbo].[onnx_staging_6182e28618dc090f_run1_0] (
    [id] BIGINT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(max) NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

COPY INTO [dbo].[onnx_staging_6182e28618dc090f_run1_0] ([id], [score], [label])
FROM 'https://account.dfs.core.windows.net/c/staging/scoring/run-1-0/2026-01-01/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Managed Identity')
) OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count_big(*) AS measure_0, count_big(id) AS measure_1, sum(CAST(id AS FLOAT(53))) AS measure_2, count_big(score) AS measure_3, sum(CAST(score AS FLOAT(53))) AS measure_4, count_big(label) AS measure_5, sum(CAST(datalength(label) AS FLOAT(53))) AS measure_6
FROM dbo.onnx_staging_6182e28618dc090f_run1_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM (SELECT staged.id AS key_0
FROM dbo.onnx_staging_6182e28618dc090f_run1_0 AS staged GROUP BY staged.id
HAVING count(*) > 1) AS groups OPTION (LABEL = 'onnx_pipeline: loading predictions')

BEGIN TRANSACTION

DELETE FROM onnx_scoring_log WHERE onnx_scoring_log.scoring = ? AND onnx_scoring_log.partition_key = ? OPTION (LABEL = 'onnx_pipeline: loading predictions')

DELETE FROM predictions WHERE predictions.partition_key = ? OPTION (LABEL = 'onnx_pipeline: loading predictions')

INSERT INTO predictions (id, score, label, partition_key, model_sha256, scored_at, run_id) SELECT id, score, label, CAST(? AS NVARCHAR(450)) AS anon_1, CAST(? AS NVARCHAR(64)) AS anon_2, CAST('2026-01-02T03:04:05.678901' AS DATETIME2(6)) AS anon_3, CAST(? AS NVARCHAR(64)) AS anon_4
FROM dbo.onnx_staging_6182e28618dc090f_run1_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM predictions
WHERE predictions.partition_key = ? OPTION (LABEL = 'onnx_pipeline: loading predictions')

INSERT INTO onnx_scoring_log (scoring, partition_key, model_sha256, rows, source_rows, source_changed, seconds, run_id, scored_at, [statistics], target, settings, partitions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS DATETIME2(6)), ?, ?, ?, ?) OPTION (LABEL = 'onnx_pipeline: loading predictions')

COMMIT TRANSACTION

SELECT *
FROM predictions
WHERE 1 = 0 OPTION (LABEL = 'onnx_pipeline: reading rows')

IF OBJECT_ID('[dbo].[onnx_staging_6182e28618dc090f_run2_0]') IS NOT NULL DROP TABLE [dbo].[onnx_staging_6182e28618dc090f_run2_0]

CREATE TABLE [dbo].[onnx_staging_6182e28618dc090f_run2_0] (
    [id] BIGINT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(max) NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

COPY INTO [dbo].[onnx_staging_6182e28618dc090f_run2_0] ([id], [score], [label])
FROM 'https://account.dfs.core.windows.net/c/staging/scoring/run-2-0/2026-01-01/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Managed Identity')
) OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count_big(*) AS measure_0, count_big(id) AS measure_1, sum(CAST(id AS FLOAT(53))) AS measure_2, count_big(score) AS measure_3, sum(CAST(score AS FLOAT(53))) AS measure_4, count_big(label) AS measure_5, sum(CAST(datalength(label) AS FLOAT(53))) AS measure_6
FROM dbo.onnx_staging_6182e28618dc090f_run2_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM (SELECT staged.id AS key_0
FROM dbo.onnx_staging_6182e28618dc090f_run2_0 AS staged GROUP BY staged.id
HAVING count(*) > 1) AS groups OPTION (LABEL = 'onnx_pipeline: loading predictions')

UPDATE predictions SET score=staged.score, label=staged.label, partition_key=CAST(? AS NVARCHAR(450)), model_sha256=CAST(? AS NVARCHAR(64)), scored_at=CAST('2026-01-02T03:04:05.678901' AS DATETIME2(6)), run_id=CAST(? AS NVARCHAR(64)) FROM predictions, dbo.onnx_staging_6182e28618dc090f_run2_0 AS staged WHERE predictions.id = staged.id OPTION (LABEL = 'onnx_pipeline: loading predictions')

INSERT INTO predictions (id, score, label, partition_key, model_sha256, scored_at, run_id) SELECT id, score, label, CAST(? AS NVARCHAR(450)) AS anon_1, CAST(? AS NVARCHAR(64)) AS anon_2, CAST('2026-01-02T03:04:05.678901' AS DATETIME2(6)) AS anon_3, CAST(? AS NVARCHAR(64)) AS anon_4
FROM dbo.onnx_staging_6182e28618dc090f_run2_0 AS staged
WHERE NOT (EXISTS (SELECT 1
FROM predictions
WHERE predictions.id = staged.id)) OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM predictions
WHERE predictions.partition_key = ? AND predictions.run_id = ? OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM onnx_scoring_log
WHERE onnx_scoring_log.scoring = ? AND onnx_scoring_log.partition_key = ? OPTION (LABEL = 'onnx_pipeline: loading predictions')

IF OBJECT_ID('[dbo].[onnx_staging_42de007f91daa487_run1_0]') IS NOT NULL DROP TABLE [dbo].[onnx_staging_42de007f91daa487_run1_0]

CREATE TABLE [dbo].[onnx_staging_42de007f91daa487_run1_0] (
    [id] BIGINT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(max) NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

COPY INTO [dbo].[onnx_staging_42de007f91daa487_run1_0] ([id], [score], [label])
FROM 'https://account.dfs.core.windows.net/c/staging/scoring/run-1-0/2026-01-02/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Managed Identity')
) OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count_big(*) AS measure_0, count_big(id) AS measure_1, sum(CAST(id AS FLOAT(53))) AS measure_2, count_big(score) AS measure_3, sum(CAST(score AS FLOAT(53))) AS measure_4, count_big(label) AS measure_5, sum(CAST(datalength(label) AS FLOAT(53))) AS measure_6
FROM dbo.onnx_staging_42de007f91daa487_run1_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM (SELECT staged.id AS key_0
FROM dbo.onnx_staging_42de007f91daa487_run1_0 AS staged GROUP BY staged.id
HAVING count(*) > 1) AS groups OPTION (LABEL = 'onnx_pipeline: loading predictions')

INSERT INTO predictions (id, score, label, partition_key, model_sha256, scored_at, run_id) SELECT id, score, label, CAST(? AS NVARCHAR(450)) AS anon_1, CAST(? AS NVARCHAR(64)) AS anon_2, CAST('2026-01-02T03:04:05.678901' AS DATETIME2(6)) AS anon_3, CAST(? AS NVARCHAR(64)) AS anon_4
FROM dbo.onnx_staging_42de007f91daa487_run1_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading predictions')

IF OBJECT_ID('[dbo].[onnx_staging_070b136dca9336f3_run1_0]') IS NOT NULL DROP TABLE [dbo].[onnx_staging_070b136dca9336f3_run1_0]

CREATE TABLE [dbo].[onnx_staging_070b136dca9336f3_run1_0] (
    [id] BIGINT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(max) NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

COPY INTO [dbo].[onnx_staging_070b136dca9336f3_run1_0] ([id], [score], [label])
FROM 'https://account.dfs.core.windows.net/c/staging/scoring/run-1-0/NULL in a key/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Managed Identity')
) OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count_big(*) AS measure_0, count_big(id) AS measure_1, sum(CAST(id AS FLOAT(53))) AS measure_2, count_big(score) AS measure_3, sum(CAST(score AS FLOAT(53))) AS measure_4, count_big(label) AS measure_5, sum(CAST(datalength(label) AS FLOAT(53))) AS measure_6
FROM dbo.onnx_staging_070b136dca9336f3_run1_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM dbo.onnx_staging_070b136dca9336f3_run1_0 AS staged
WHERE staged.id IS NULL OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM (SELECT staged.id AS key_0
FROM dbo.onnx_staging_070b136dca9336f3_run1_0 AS staged GROUP BY staged.id
HAVING count(*) > 1) AS groups OPTION (LABEL = 'onnx_pipeline: loading predictions')

IF OBJECT_ID('[dbo].[onnx_staging_300b34c3d292a242_run1_0]') IS NOT NULL DROP TABLE [dbo].[onnx_staging_300b34c3d292a242_run1_0]

CREATE TABLE [dbo].[onnx_staging_300b34c3d292a242_run1_0] (
    [id] BIGINT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(max) NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

COPY INTO [dbo].[onnx_staging_300b34c3d292a242_run1_0] ([id], [score], [label])
FROM 'https://account.dfs.core.windows.net/c/staging/scoring/run-1-0/a key that occurs twice/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Managed Identity')
) OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count_big(*) AS measure_0, count_big(id) AS measure_1, sum(CAST(id AS FLOAT(53))) AS measure_2, count_big(score) AS measure_3, sum(CAST(score AS FLOAT(53))) AS measure_4, count_big(label) AS measure_5, sum(CAST(datalength(label) AS FLOAT(53))) AS measure_6
FROM dbo.onnx_staging_300b34c3d292a242_run1_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT count(*) AS n
FROM (SELECT staged.id AS key_0
FROM dbo.onnx_staging_300b34c3d292a242_run1_0 AS staged GROUP BY staged.id
HAVING count(*) > 1) AS groups OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT TOP 12 staged.id
FROM dbo.onnx_staging_300b34c3d292a242_run1_0 AS staged JOIN (SELECT staged.id AS key_0
FROM dbo.onnx_staging_300b34c3d292a242_run1_0 AS staged GROUP BY staged.id
HAVING count(*) > 1) AS groups ON staged.id = groups.key_0 OPTION (LABEL = 'onnx_pipeline: loading predictions')

SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('onnx_scoring_log') OPTION (LABEL = 'onnx_pipeline: preparing table named')

SELECT s.name AS schema_name, o.name AS object_name FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.object_id = OBJECT_ID(?) OPTION (LABEL = 'onnx_pipeline: preparing table named')

SELECT SCHEMA_NAME() AS name OPTION (LABEL = 'onnx_pipeline: preparing table named')

CREATE TABLE [named] (
    [id] BIGINT NOT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(450) COLLATE Latin1_General_100_CI_AS_KS_WS_SC_UTF8 NOT NULL,
    [partition_key] NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    [model_sha256] NVARCHAR(64) NOT NULL,
    [scored_at] DATETIME2(6) NOT NULL,
    [run_id] NVARCHAR(64) NOT NULL,
    PRIMARY KEY NONCLUSTERED ([partition_key], [label], [id]) NOT ENFORCED
)
WITH (DISTRIBUTION = HASH([label]), CLUSTERED COLUMNSTORE INDEX)

SELECT SCHEMA_NAME() AS name OPTION (LABEL = 'onnx_pipeline: loading named')

SELECT name, collation_name FROM sys.columns WHERE object_id = OBJECT_ID(?) AND collation_name IS NOT NULL OPTION (LABEL = 'onnx_pipeline: loading named')

SELECT s.name AS schema_name, t.name AS table_name FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE LEFT(t.name, ?) = ? AND t.create_date < DATEADD(HOUR, ?, GETDATE()) OPTION (LABEL = 'onnx_pipeline: loading named')

IF OBJECT_ID('[dbo].[onnx_staging_9291d7c581945fc6_run1_0]') IS NOT NULL DROP TABLE [dbo].[onnx_staging_9291d7c581945fc6_run1_0]

CREATE TABLE [dbo].[onnx_staging_9291d7c581945fc6_run1_0] (
    [id] BIGINT NULL,
    [score] REAL NULL,
    [label] NVARCHAR(450) COLLATE Latin1_General_100_CI_AS_KS_WS_SC_UTF8 NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

COPY INTO [dbo].[onnx_staging_9291d7c581945fc6_run1_0] ([id], [score], [label])
FROM 'https://account.dfs.core.windows.net/c/staging/scoring/run-1-0/2026-01-01/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Managed Identity')
) OPTION (LABEL = 'onnx_pipeline: loading named')

SELECT count_big(*) AS measure_0, count_big(label) AS measure_1, sum(CAST(datalength(label) AS FLOAT(53))) AS measure_2, count_big(id) AS measure_3, sum(CAST(id AS FLOAT(53))) AS measure_4, count_big(score) AS measure_5, sum(CAST(score AS FLOAT(53))) AS measure_6
FROM dbo.onnx_staging_9291d7c581945fc6_run1_0 AS staged OPTION (LABEL = 'onnx_pipeline: loading named')

SELECT count(*) AS n
FROM (SELECT staged.label AS key_0, staged.id AS key_1
FROM dbo.onnx_staging_9291d7c581945fc6_run1_0 AS staged GROUP BY staged.label, staged.id
HAVING count(*) > 1) AS groups OPTION (LABEL = 'onnx_pipeline: loading named')

DELETE FROM onnx_scoring_log WHERE onnx_scoring_log.scoring = ? AND onnx_scoring_log.partition_key = ? OPTION (LABEL = 'onnx_pipeline: loading named')

UPDATE named SET score=staged.score, partition_key=CAST(? AS NVARCHAR(450)), model_sha256=CAST(? AS NVARCHAR(64)), scored_at=CAST('2026-01-02T03:04:05.678901' AS DATETIME2(6)), run_id=CAST(? AS NVARCHAR(64)) FROM named, dbo.onnx_staging_9291d7c581945fc6_run1_0 AS staged WHERE named.label = staged.label AND named.id = staged.id OPTION (LABEL = 'onnx_pipeline: loading named')

INSERT INTO named (id, score, label, partition_key, model_sha256, scored_at, run_id) SELECT id, score, label, CAST(? AS NVARCHAR(450)) AS anon_1, CAST(? AS NVARCHAR(64)) AS anon_2, CAST('2026-01-02T03:04:05.678901' AS DATETIME2(6)) AS anon_3, CAST(? AS NVARCHAR(64)) AS anon_4
FROM dbo.onnx_staging_9291d7c581945fc6_run1_0 AS staged
WHERE NOT (EXISTS (SELECT 1
FROM named
WHERE named.label = staged.label AND named.id = staged.id)) OPTION (LABEL = 'onnx_pipeline: loading named')

SELECT count(*) AS n
FROM named
WHERE named.partition_key = ? AND named.run_id = ? OPTION (LABEL = 'onnx_pipeline: loading named')

INSERT INTO onnx_scoring_log (scoring, partition_key, model_sha256, rows, source_rows, source_changed, seconds, run_id, scored_at, [statistics], target, settings, partitions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS DATETIME2(6)), ?, ?, ?, ?) OPTION (LABEL = 'onnx_pipeline: loading named')

EXEC sp_describe_first_result_set @tsql = N'SELECT label
FROM named'

SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('onnx_models') OPTION (LABEL = 'onnx_pipeline: registering model scoring')

IF OBJECT_ID('onnx_models') IS NULL
CREATE TABLE onnx_models (
    id         BIGINT         NOT NULL,
    name       NVARCHAR(450)  COLLATE Latin1_General_BIN2 NOT NULL,
    sha256     NVARCHAR(64)   NOT NULL,
    model      VARBINARY(MAX) NOT NULL,
    created_at DATETIME2(6)   NOT NULL,
    signature  NVARCHAR(MAX)  NOT NULL,
    form       NVARCHAR(64)   NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE object_id = OBJECT_ID('onnx_models') AND name = 'form')
ALTER TABLE onnx_models ADD form NVARCHAR(64) NULL

SELECT coalesce(min(onnx_models.id), ?) AS coalesce_1
FROM onnx_models
WHERE onnx_models.name = ? AND onnx_models.sha256 = ? AND onnx_models.form IS NULL OPTION (LABEL = 'onnx_pipeline: registering model scoring')

SELECT coalesce(max(onnx_models.id), ?) + ? AS anon_1
FROM onnx_models OPTION (LABEL = 'onnx_pipeline: registering model scoring')

INSERT INTO onnx_models (id, name, sha256, model, created_at, signature, form) VALUES (?, ?, ?, ?, CAST(? AS DATETIME2(6)), ?, ?) OPTION (LABEL = 'onnx_pipeline: registering model scoring')

SELECT onnx_scoring_log.scoring, onnx_scoring_log.partition_key, onnx_scoring_log.model_sha256, onnx_scoring_log.rows, onnx_scoring_log.source_rows, onnx_scoring_log.source_changed, onnx_scoring_log.seconds, onnx_scoring_log.run_id, onnx_scoring_log.scored_at, onnx_scoring_log.[statistics], onnx_scoring_log.target, onnx_scoring_log.settings, onnx_scoring_log.partitions
FROM onnx_scoring_log
WHERE onnx_scoring_log.scoring = ? AND onnx_scoring_log.partition_key IN (?, ?) OPTION (LABEL = 'onnx_pipeline: reading the scoring log')

SELECT TOP 5 *
FROM predictions
WHERE predictions.partition_key = ? OPTION (LABEL = 'onnx_pipeline: reading rows')

SELECT *
FROM visits
WHERE 1 = 0 OPTION (LABEL = 'onnx_pipeline: reading rows')

SELECT count(*) AS rows, max(features.__changed) AS changed, sum(CAST(CASE WHEN (features.id IS NULL) THEN 1 ELSE 0 END AS BIGINT)) AS key_0, sum(CAST(CASE WHEN (features.__nulls_0 & 1 != 0) THEN 1 ELSE 0 END AS BIGINT)) AS feature_0, sum(CAST(CASE WHEN (features.__misfits_0 & 1 != 0) THEN 1 ELSE 0 END AS BIGINT)) AS misfit_0, features.__place__
FROM (SELECT source.id AS id, source.at AS __changed, CASE WHEN (source.a IS NULL) THEN 1 ELSE 0 END AS __nulls_0, CASE WHEN (abs(source.a) >= 3.4028235677973366e+38 AND abs(source.a) <= 1.7976931348623157e+308) THEN 1 ELSE 0 END AS __misfits_0, CAST(source.at AS DATE) AS __place__
FROM visits AS source
WHERE source.at >= CAST(? AS DATETIME2(6)) AND source.at < CAST(? AS DATETIME2(6))) AS features GROUP BY features.__place__ OPTION (LABEL = 'onnx_pipeline: reading rows')

SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(?, 'U') AND is_nullable = 0 OPTION (LABEL = 'onnx_pipeline: reading what table visits declares')

SELECT SCHEMA_NAME() AS name OPTION (LABEL = 'onnx_pipeline: landing')

SELECT TOP 1 CASE WHEN (len(convert(VARCHAR(40), source.__changed, 121)) = 23 AND datalength(source.__changed) = 8) THEN 'datetime' ELSE 'datetime2' END AS base_type
FROM (SELECT source.id AS id, source.at AS __changed, CASE WHEN (source.a IS NULL) THEN 1 ELSE 0 END AS __nulls_0, CASE WHEN (abs(source.a) >= 3.4028235677973366e+38 AND abs(source.a) <= 1.7976931348623157e+308) THEN 1 ELSE 0 END AS __misfits_0, CASE WHEN (abs(source.a) >= 3.4028235677973366e+38 AND abs(source.a) <= 1.7976931348623157e+308) THEN CAST(NULL AS REAL) ELSE CAST(source.a AS REAL) END AS a
FROM visits AS source) AS source
WHERE source.__changed IS NOT NULL OPTION (LABEL = 'onnx_pipeline: landing')

IF OBJECT_ID('[dbo].[onnx_landing_ac340de892cc78d8_run1_00000000]') IS NOT NULL DROP TABLE [dbo].[onnx_landing_ac340de892cc78d8_run1_00000000]

CREATE TABLE [dbo].[onnx_landing_ac340de892cc78d8_run1_00000000] (
    [id] BIGINT NULL,
    [__changed] DATETIME2(7) NULL,
    [__nulls_0] INTEGER NULL,
    [__misfits_0] INTEGER NULL,
    [score] REAL NULL,
    [label] NVARCHAR(max) NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

INSERT INTO dbo.onnx_landing_ac340de892cc78d8_run1_00000000 (id, __changed, __nulls_0, __misfits_0, score, label) SELECT features.id, features.__changed, features.__nulls_0, features.__misfits_0, features.a AS score, 'a' AS label
FROM (SELECT source.id AS id, source.at AS __changed, CASE WHEN (source.a IS NULL) THEN 1 ELSE 0 END AS __nulls_0, CASE WHEN (abs(source.a) >= 3.4028235677973366e+38 AND abs(source.a) <= 1.7976931348623157e+308) THEN 1 ELSE 0 END AS __misfits_0, CASE WHEN (abs(source.a) >= 3.4028235677973366e+38 AND abs(source.a) <= 1.7976931348623157e+308) THEN CAST(NULL AS REAL) ELSE CAST(source.a AS REAL) END AS a
FROM visits AS source) AS features OPTION (LABEL = 'onnx_pipeline: landing predictions of scores')

SELECT count(*) AS rows, max(landed.__changed) AS changed, sum(CAST(CASE WHEN (landed.id IS NULL) THEN 1 ELSE 0 END AS BIGINT)) AS key_0, sum(CAST(CASE WHEN (landed.__nulls_0 & 1 != 0) THEN 1 ELSE 0 END AS BIGINT)) AS feature_0, sum(CAST(CASE WHEN (landed.__misfits_0 & 1 != 0) THEN 1 ELSE 0 END AS BIGINT)) AS misfit_0
FROM dbo.onnx_landing_ac340de892cc78d8_run1_00000000 AS landed OPTION (LABEL = 'onnx_pipeline: reading rows')

SELECT coded.code, count(*) AS n, sum(CASE WHEN (abs(coded.d) < 1e-290) THEN 0.0e0 ELSE coded.d * 9.094947017729282e-13 END) AS total, sum(CASE WHEN (abs(coded.d) < 1e-150) THEN 0.0e0 WHEN (abs(coded.d) > 1e+150) THEN 0.0e0 ELSE coded.d * coded.d END) AS squares, min(coded.v) AS low, max(coded.v) AS high, sum(CASE WHEN (abs(coded.d) > 1e+150) THEN 1 ELSE 0 END) AS huge
FROM (SELECT halves.v AS v, CAST(CASE WHEN (halves.x < 0.0e0) THEN 32767.0e0 - halves.half ELSE 32768.0e0 + halves.half END AS INTEGER) AS code, CAST(CASE WHEN (halves.x < 0.0e0) THEN halves.v + halves.edge ELSE halves.v - halves.edge END AS FLOAT(53)) AS d
FROM (SELECT powers.v AS v, powers.x AS x, CASE WHEN (powers.a >= 1.1754943508222875e-38) THEN (powers.e + 127.0e0) * 128.0e0 + floor(((powers.a / powers.p) - 1.0e0) * 128.0e0) ELSE floor(powers.a * 1.0889035741470031e+40) END AS half, CASE WHEN (powers.a >= 1.1754943508222875e-38) THEN powers.p * (1.0e0 + floor(((powers.a / powers.p) - 1.0e0) * 128.0e0) * 0.0078125e0) ELSE floor(powers.a * 1.0889035741470031e+40) * 9.183549615799121e-41 END AS edge
FROM (SELECT exponents.v AS v, exponents.x AS x, exponents.a AS a, exponents.e AS e, power(2.0e0, exponents.e) AS p
FROM (SELECT guessed.v AS v, guessed.x AS x, guessed.a AS a, CAST(CASE WHEN (power(2.0e0, guessed.e) > guessed.a) THEN guessed.e - 1.0e0 WHEN (power(2.0e0, guessed.e + 1.0e0) <= guessed.a) THEN guessed.e + 1.0e0 ELSE guessed.e END AS FLOAT(53)) AS e
FROM (SELECT sizes.v AS v, sizes.x AS x, sizes.a AS a, CAST(CASE WHEN (sizes.a >= 1.1754943508222875e-38) THEN floor(log10(sizes.a) * 3.321928094887362e0) ELSE 0.0e0 END AS FLOAT(53)) AS e
FROM (SELECT numbers.v AS v, numbers.x AS x, abs(numbers.x) AS a
FROM (SELECT CAST(landed.score AS FLOAT(53)) AS v, CAST(CASE WHEN (landed.score > 3.4028234663852886e+38) THEN 3.4028234663852886e+38 WHEN (landed.score < -3.4028234663852886e+38) THEN -3.4028234663852886e+38 WHEN (abs(landed.score) <= 7.006492321624085e-46) THEN 0.0e0 ELSE CAST(landed.score AS REAL) END AS FLOAT(53)) AS x
FROM dbo.onnx_landing_ac340de892cc78d8_run1_00000000 AS landed
WHERE landed.score IS NOT NULL) AS numbers) AS sizes) AS guessed) AS exponents) AS powers) AS halves) AS coded GROUP BY coded.code OPTION (LABEL = 'onnx_pipeline: reading rows')

SELECT landed.label COLLATE Latin1_General_BIN2 AS value, count(*) AS n
FROM dbo.onnx_landing_ac340de892cc78d8_run1_00000000 AS landed GROUP BY landed.label COLLATE Latin1_General_BIN2, datalength(landed.label) OPTION (LABEL = 'onnx_pipeline: reading rows')

SELECT count_big(*) AS measure_0, count_big(stored.id) AS measure_1, sum(CAST(stored.id AS FLOAT(53))) AS measure_2, sum(abs(CAST(stored.id AS FLOAT(53)))) AS measure_3, count_big(stored.score) AS measure_4, sum(CAST(stored.score AS FLOAT(53))) AS measure_5, sum(abs(CAST(stored.score AS FLOAT(53)))) AS measure_6, count_big(stored.label) AS measure_7, sum(CAST(datalength(stored.label) AS FLOAT(53))) AS measure_8, sum(abs(CAST(datalength(stored.label) AS FLOAT(53)))) AS measure_9
FROM dbo.onnx_landing_ac340de892cc78d8_run1_00000000 AS stored OPTION (LABEL = 'onnx_pipeline: measuring rows')

WITH [one] AS (SELECT CAST(41 AS REAL) AS [x])
SELECT [p].[y] AS [y] FROM PREDICT(MODEL = 0x08043a590a100a01780a036f6e65120179220341646412086f6e655f6d6f72652a1108010801100122040000803f42036f6e655a130a0178120e0a0c080112080a0208010a02080162130a0179120e0a0c080112080a0208010a02080142040a001009, DATA = [one] AS [d], RUNTIME = ONNX) WITH ([y] REAL) AS [p] OPTION (LABEL = 'onnx_pipeline: asking for PREDICT')

SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('onnx_models') OPTION (LABEL = 'onnx_pipeline: registering model s')

SELECT coalesce(min(onnx_models.id), ?) AS coalesce_1
FROM onnx_models
WHERE onnx_models.name = ? AND onnx_models.sha256 = ? AND onnx_models.form = ? OPTION (LABEL = 'onnx_pipeline: registering model s')

SELECT coalesce(max(onnx_models.id), ?) + ? AS anon_1
FROM onnx_models OPTION (LABEL = 'onnx_pipeline: registering model s')

INSERT INTO onnx_models (id, name, sha256, model, created_at, signature, form) VALUES (?, ?, ?, ?, CAST(? AS DATETIME2(6)), ?, ?) OPTION (LABEL = 'onnx_pipeline: registering model s')

SELECT HASHBYTES('SHA2_256', model) AS kept FROM onnx_models WHERE id = ? OPTION (LABEL = 'onnx_pipeline: looking at a registered model')

IF OBJECT_ID('[dbo].[onnx_landing_ac340de892cc78d8_run1_00000000s1]') IS NOT NULL DROP TABLE [dbo].[onnx_landing_ac340de892cc78d8_run1_00000000s1]

CREATE TABLE [dbo].[onnx_landing_ac340de892cc78d8_run1_00000000] (
    [id] BIGINT NULL,
    [__changed] DATETIME2(7) NULL,
    [__nulls_0] INTEGER NULL,
    [__misfits_0] INTEGER NULL,
    [score] REAL NULL
)
WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)

SELECT * INTO dbo.onnx_landing_ac340de892cc78d8_run1_00000000s1 FROM (SELECT features.id AS mark0, features.__changed AS mark1, features.__nulls_0 AS mark2, features.__misfits_0 AS mark3, CASE WHEN (features.a IS NULL) THEN CAST(0 AS REAL) ELSE CAST(features.a AS REAL) END AS f0, CAST(CASE WHEN (features.a IS NULL) THEN 0 ELSE 1 END AS REAL) AS there0
FROM (SELECT source.id AS id, source.at AS __changed, CASE WHEN (source.a IS NULL) THEN 1 ELSE 0 END AS __nulls_0, CASE WHEN (abs(source.a) >= 3.4028235677973366e+38 AND abs(source.a) <= 1.7976931348623157e+308) THEN 1 ELSE 0 END AS __misfits_0, CASE WHEN (abs(source.a) >= 3.4028235677973366e+38 AND abs(source.a) <= 1.7976931348623157e+308) THEN CAST(NULL AS REAL) ELSE CAST(source.a AS REAL) END AS a
FROM visits AS source) AS features) AS selected OPTION (LABEL = 'onnx_pipeline: landing predictions of scores')

INSERT INTO dbo.onnx_landing_ac340de892cc78d8_run1_00000000 (id, __changed, __nulls_0, __misfits_0, score) SELECT [d].[mark0] AS id, [d].[mark1] AS __changed, [d].[mark2] AS __nulls_0, [d].[mark3] AS __misfits_0, CASE WHEN ([p].[number0] = 1) THEN [p].[p0] END AS score
FROM PREDICT(MODEL = (SELECT TOP 1 model FROM onnx_models WHERE id = 2 AND sha256 = 'of the model' AND form = 'scalars of the model'), DATA = [dbo].[onnx_landing_ac340de892cc78d8_run1_00000000s1] AS [d], RUNTIME = ONNX) WITH ([p0] REAL, [number0] INTEGER) AS [p] OPTION (LABEL = 'onnx_pipeline: landing predictions of scores')

-- target as it is by default
CREATE TABLE [ward].[every type ü] (
    [id] BIGINT NOT NULL,
    [name] NVARCHAR(450) NOT NULL,
    [token] UNIQUEIDENTIFIER NOT NULL,
    [day] DATE NOT NULL,
    [at] DATETIME2(6) NOT NULL,
    [at_utc] DATETIMEOFFSET(6) NOT NULL,
    [hour] TIME(6) NOT NULL,
    [amount] NUMERIC(12, 2) NOT NULL,
    [b] BIT NULL,
    [i8] SMALLINT NULL,
    [u8] SMALLINT NULL,
    [i16] SMALLINT NULL,
    [u16] INTEGER NULL,
    [i32] INTEGER NULL,
    [u32] BIGINT NULL,
    [u64] NUMERIC(20, 0) NULL,
    [f16] REAL NULL,
    [f32] REAL NULL,
    [f64] FLOAT(53) NULL,
    [the label ]]] NVARCHAR(4000) NULL,
    [partition_key] NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    [model_sha256] NVARCHAR(64) NOT NULL,
    [scored_at] DATETIME2(6) NOT NULL,
    [run_id] NVARCHAR(64) NOT NULL,
    PRIMARY KEY NONCLUSTERED ([partition_key], [id], [name], [token], [day], [at], [at_utc], [hour], [amount]) NOT ENFORCED
)
WITH (DISTRIBUTION = HASH([id]), CLUSTERED COLUMNSTORE INDEX)

-- target {'index': 'heap', 'distribution': 'hash(NAME)'}
CREATE TABLE [ward].[every type ü] (
    [id] BIGINT NOT NULL,
    [name] NVARCHAR(450) NOT NULL,
    [token] UNIQUEIDENTIFIER NOT NULL,
    [day] DATE NOT NULL,
    [at] DATETIME2(6) NOT NULL,
    [at_utc] DATETIMEOFFSET(6) NOT NULL,
    [hour] TIME(6) NOT NULL,
    [amount] NUMERIC(12, 2) NOT NULL,
    [b] BIT NULL,
    [i8] SMALLINT NULL,
    [u8] SMALLINT NULL,
    [i16] SMALLINT NULL,
    [u16] INTEGER NULL,
    [i32] INTEGER NULL,
    [u32] BIGINT NULL,
    [u64] NUMERIC(20, 0) NULL,
    [f16] REAL NULL,
    [f32] REAL NULL,
    [f64] FLOAT(53) NULL,
    [the label ]]] NVARCHAR(max) NULL,
    [partition_key] NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    [model_sha256] NVARCHAR(64) NOT NULL,
    [scored_at] DATETIME2(6) NOT NULL,
    [run_id] NVARCHAR(64) NOT NULL,
    PRIMARY KEY NONCLUSTERED ([partition_key], [id], [name], [token], [day], [at], [at_utc], [hour], [amount]) NOT ENFORCED
)
WITH (DISTRIBUTION = HASH([name]), HEAP)

-- target {'distribution': 'round_robin'}
CREATE TABLE [ward].[every type ü] (
    [id] BIGINT NOT NULL,
    [name] NVARCHAR(450) NOT NULL,
    [token] UNIQUEIDENTIFIER NOT NULL,
    [day] DATE NOT NULL,
    [at] DATETIME2(6) NOT NULL,
    [at_utc] DATETIMEOFFSET(6) NOT NULL,
    [hour] TIME(6) NOT NULL,
    [amount] NUMERIC(12, 2) NOT NULL,
    [b] BIT NULL,
    [i8] SMALLINT NULL,
    [u8] SMALLINT NULL,
    [i16] SMALLINT NULL,
    [u16] INTEGER NULL,
    [i32] INTEGER NULL,
    [u32] BIGINT NULL,
    [u64] NUMERIC(20, 0) NULL,
    [f16] REAL NULL,
    [f32] REAL NULL,
    [f64] FLOAT(53) NULL,
    [the label ]]] NVARCHAR(4000) NULL,
    [partition_key] NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL,
    [model_sha256] NVARCHAR(64) NOT NULL,
    [scored_at] DATETIME2(6) NOT NULL,
    [run_id] NVARCHAR(64) NOT NULL,
    PRIMARY KEY NONCLUSTERED ([partition_key], [id], [name], [token], [day], [at], [at_utc], [hour], [amount]) NOT ENFORCED
)
WITH (DISTRIBUTION = ROUND_ROBIN, CLUSTERED COLUMNSTORE INDEX)

-- SAS
COPY INTO [dbo].[onnx_staging_6182e28618dc090f_run3_0] ([id], [score], [label])
FROM 'https://account.blob.core.windows.net/c/staging/scoring/run-3-0/2026-01-01/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Shared Access Signature', SECRET = 's3cr''et')
) OPTION (LABEL = 'onnx_pipeline: loading predictions')

-- account key
COPY INTO [dbo].[onnx_staging_6182e28618dc090f_run3_0] ([id], [score], [label])
FROM 'https://account.blob.core.windows.net/c/staging/scoring/run-3-0/2026-01-01/*.parquet'
WITH (
    FILE_TYPE = 'PARQUET',
    CREDENTIAL = (IDENTITY = 'Storage Account Key', SECRET = 's3cr''et')
) OPTION (LABEL = 'onnx_pipeline: loading predictions')

-- extract=cetas
IF OBJECT_ID('onnx_extract_00000000000000000000000000000000') IS NOT NULL DROP EXTERNAL TABLE [onnx_extract_00000000000000000000000000000000]

-- extract=cetas
CREATE EXTERNAL TABLE [onnx_extract_00000000000000000000000000000000]
WITH (
    LOCATION = '/staging/extract/run-1-0/onnx_extract_00000000000000000000000000000000/',
    DATA_SOURCE = [onnx_staging],
    FILE_FORMAT = [onnx_parquet]
)
AS SELECT id, label
FROM predictions
WHERE label != N'it''s é' OPTION (LABEL = 'onnx_pipeline: extracting rows')

-- features by none
SELECT source.id, source.a AS a, source.[size ]]] AS [size ]]], source.flag AS flag, source.at AS __changed
FROM ward.visits AS source OPTION (LABEL = 'onnx_pipeline: reading rows')

-- inventory by none
SELECT count(*) AS rows, max(source.at) AS changed
FROM ward.visits AS source OPTION (LABEL = 'onnx_pipeline: reading rows')

-- features by values
SELECT source.id, source.a AS a, source.[size ]]] AS [size ]]], source.flag AS flag, source.at AS __changed, rtrim(CAST(source.name AS NVARCHAR(4000))) COLLATE Latin1_General_BIN2 AS __partition
FROM ward.visits AS source
WHERE source.name IN (?, ?) AND (rtrim(CAST(source.name AS NVARCHAR(4000))) COLLATE Latin1_General_BIN2) IN (?, ?) OPTION (LABEL = 'onnx_pipeline: reading rows')

-- inventory by values
SELECT count(*) AS rows, max(source.at) AS changed, rtrim(CAST(source.name AS NVARCHAR(4000))) COLLATE Latin1_General_BIN2 AS marker
FROM ward.visits AS source GROUP BY rtrim(CAST(source.name AS NVARCHAR(4000))) COLLATE Latin1_General_BIN2 OPTION (LABEL = 'onnx_pipeline: reading rows')

-- features by buckets of a number
SELECT source.id, source.a AS a, source.[size ]]] AS [size ]]], source.flag AS flag, source.at AS __changed, CAST(substring(hashbytes('MD5', CAST(CAST(coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000))), 1, 3) AS INTEGER) % 8 AS __partition
FROM ward.visits AS source
WHERE (CAST(substring(hashbytes('MD5', CAST(CAST(coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000))), 1, 3) AS INTEGER) % 8) IN (?, ?) OPTION (LABEL = 'onnx_pipeline: reading rows')

-- inventory by buckets of a number
SELECT count(*) AS rows, max(source.at) AS changed, CAST(substring(hashbytes('MD5', CAST(CAST(coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000))), 1, 3) AS INTEGER) % 8 AS marker
FROM ward.visits AS source GROUP BY CAST(substring(hashbytes('MD5', CAST(CAST(coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000))), 1, 3) AS INTEGER) % 8 OPTION (LABEL = 'onnx_pipeline: reading rows')

-- features by days of a date
SELECT source.id, source.a AS a, source.[size ]]] AS [size ]]], source.flag AS flag, source.at AS __changed, source.day AS __partition
FROM ward.visits AS source
WHERE source.day >= CAST(? AS DATE) AND source.day < CAST(? AS DATE) OPTION (LABEL = 'onnx_pipeline: reading rows')

-- inventory by days of a date
SELECT count(*) AS rows, max(source.at) AS changed, source.day AS marker
FROM ward.visits AS source GROUP BY source.day OPTION (LABEL = 'onnx_pipeline: reading rows')

-- features by hours of a time
SELECT source.id, source.a AS a, source.[size ]]] AS [size ]]], source.flag AS flag, source.at AS __changed, source.at AS __partition
FROM ward.visits AS source
WHERE source.at >= CAST(? AS DATETIME2(6)) AND source.at < CAST(? AS DATETIME2(6)) OPTION (LABEL = 'onnx_pipeline: reading rows')

-- inventory by hours of a time
SELECT count(*) AS rows, max(source.at) AS changed, dateadd(MINUTE, (datediff(MINUTE, CAST(CAST(source.at AS DATE) AS DATETIME2(0)), source.at) / 15) * 15, CAST(CAST(source.at AS DATE) AS DATETIME2(0))) AS marker
FROM ward.visits AS source GROUP BY dateadd(MINUTE, (datediff(MINUTE, CAST(CAST(source.at AS DATE) AS DATETIME2(0)), source.at) / 15) * 15, CAST(CAST(source.at AS DATE) AS DATETIME2(0))) OPTION (LABEL = 'onnx_pipeline: reading rows')

-- features by weeks of a time with zone
SELECT source.id, source.a AS a, source.[size ]]] AS [size ]]], source.flag AS flag, source.at AS __changed, source.at_utc AS __partition
FROM ward.visits AS source
WHERE source.at_utc >= CAST(? AS DATETIMEOFFSET(6)) AND source.at_utc < CAST(? AS DATETIMEOFFSET(6)) OPTION (LABEL = 'onnx_pipeline: reading rows')

-- inventory by weeks of a time with zone
SELECT count(*) AS rows, max(source.at) AS changed, dateadd(MINUTE, (datediff(MINUTE, CAST(CAST(switchoffset(source.at_utc, '+00:00') AS DATE) AS DATETIMEOFFSET(0)), switchoffset(source.at_utc, '+00:00')) / 15) * 15, CAST(CAST(switchoffset(source.at_utc, '+00:00') AS DATE) AS DATETIMEOFFSET(0))) AS marker
FROM ward.visits AS source GROUP BY dateadd(MINUTE, (datediff(MINUTE, CAST(CAST(switchoffset(source.at_utc, '+00:00') AS DATE) AS DATETIMEOFFSET(0)), switchoffset(source.at_utc, '+00:00')) / 15) * 15, CAST(CAST(switchoffset(source.at_utc, '+00:00') AS DATE) AS DATETIMEOFFSET(0))) OPTION (LABEL = 'onnx_pipeline: reading rows')

-- features of a query with WITH and ORDER BY
WITH few AS (SELECT * FROM ward.visits WHERE name LIKE '%:x')
SELECT source.id, source.a AS a, source.[size ]]] AS [size ]]], source.flag AS flag
FROM (SELECT * FROM few  -- all
) AS source OPTION (LABEL = 'onnx_pipeline: reading rows')

-- a query with WITH and ORDER BY that lands
WITH few AS (SELECT * FROM ward.visits WHERE name LIKE '%:x')
INSERT INTO landed (id, a) SELECT source.id, source.a
FROM (SELECT * FROM few  -- all
) AS source OPTION (LABEL = 'onnx_pipeline: reading rows')

-- bucket of name and a number
SELECT CAST(substring(hashbytes('MD5', CASE WHEN (CAST(CAST((coalesce(CAST(source.name AS NVARCHAR(4000)), '') + '|') + coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS NVARCHAR(4000)) = CAST((coalesce(CAST(source.name AS NVARCHAR(4000)), '') + '|') + coalesce(CAST(source.id AS VARCHAR(60)), '') AS NVARCHAR(4000))) THEN CAST(CAST((coalesce(CAST(source.name AS NVARCHAR(4000)), '') + '|') + coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000)) ELSE CAST(CAST((coalesce(CAST(source.name AS NVARCHAR(4000)), '') + '|') + coalesce(CAST(source.id AS VARCHAR(60)), '') AS NVARCHAR(4000)) AS VARBINARY(8000)) END), 1, 3) AS INTEGER) % 8 AS bucket
FROM ward.visits AS source OPTION (LABEL = 'onnx_pipeline: reading rows')

-- bucket of token and a number
SELECT CAST(substring(hashbytes('MD5', CAST(CAST((coalesce(lower(CAST(source.token AS VARCHAR(36))), '') + '|') + coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000))), 1, 3) AS INTEGER) % 8 AS bucket
FROM ward.visits AS source OPTION (LABEL = 'onnx_pipeline: reading rows')

-- bucket of day and a number
SELECT CAST(substring(hashbytes('MD5', CAST(CAST((coalesce(convert(VARCHAR(10), source.day, 23), '') + '|') + coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000))), 1, 3) AS INTEGER) % 8 AS bucket
FROM ward.visits AS source OPTION (LABEL = 'onnx_pipeline: reading rows')

-- bucket of at_utc and a number
SELECT CAST(substring(hashbytes('MD5', CAST(CAST((coalesce(convert(VARCHAR(40), source.at_utc, 121), '') + '|') + coalesce(CAST(source.id AS VARCHAR(60)), '') AS VARCHAR(8000)) AS VARBINARY(8000))), 1, 3) AS INTEGER) % 8 AS bucket
FROM ward.visits AS source OPTION (LABEL = 'onnx_pipeline: reading rows')
