SELECT CAST(SERVERPROPERTY('ProductMajorVersion') AS INT) AS major, CAST(SERVERPROPERTY('EngineEdition') AS INT) AS edition, CAST(SERVERPROPERTY('IsAdvancedAnalyticsInstalled') AS INT) AS installed

SELECT (SELECT CAST(value_in_use AS INT) FROM sys.configurations WHERE name = 'external scripts enabled') AS enabled, HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'EXECUTE ANY EXTERNAL SCRIPT') AS may_run

SELECT (SELECT COUNT(*) FROM sys.external_languages WHERE language = ?) AS registered, HAS_PERMS_BY_NAME(?, 'EXTERNAL LANGUAGE', 'EXECUTE EXTERNAL SCRIPT') AS may_use

INSERT INTO [dbo].[onnx_landing_...] ([id], [__nulls_0], [__misfits_0], [said], [products_0], [products_1], [products_2], [twice], [above])
EXEC sp_executesql N'...',
    N'@input_query NVARCHAR(MAX), @script NVARCHAR(MAX), @model_id BIGINT',
    @input_query = N'SELECT features.id AS k0, features.__nulls_0 AS k1, features.__misfits_0 AS k2, features.a AS x0, features.b AS x1, coalesce(features.n, CAST(-7 AS BIGINT)) AS n, coalesce(features.word, N''it''''s ünknown'') AS word 
FROM (SELECT source.id AS id, CASE WHEN (source.a IS NULL) THEN 1 ELSE 0 END + CASE WHEN (source.b IS NULL) THEN 2 ELSE 0 END + CASE WHEN (source.n IS NULL) THEN 4 ELSE 0 END + CASE WHEN (source.word IS NULL) THEN 8 ELSE 0 END AS __nulls_0, CASE WHEN (abs(source.b) >= 3.4028235677973366e+38 AND abs(source.b) <= 1.7976931348623157e+308) THEN 1 ELSE 0 END AS __misfits_0, source.a AS a, CASE WHEN (abs(source.b) >= 3.4028235677973366e+38 AND abs(source.b) <= 1.7976931348623157e+308) THEN CAST(NULL AS REAL) ELSE CAST(source.b AS REAL) END AS b, CAST(source.n AS BIGINT) AS n, source.word AS word 
FROM rows AS source 
WHERE source.part IN (''p'') AND (rtrim(CAST(source.part AS NVARCHAR(4000))) COLLATE Latin1_General_BIN2) IN (''p'')) AS features',
    @script = N'keys = "k0", "k1", "k2"
features = "x0", "x1"
outputs = "said", "products"[0], "products"[1], "products"[2], "twice", "above"
threads = 2',
    @model_id = 1

-- the batch
SET NOCOUNT ON
DECLARE @model VARBINARY(MAX) = (SELECT model FROM onnx_models WHERE id = @model_id)
IF @model IS NULL
BEGIN
    RAISERROR (N'onnx_models holds no model %I64d that you may read', 16, 1, @model_id)
    RETURN
END
EXEC sp_execute_external_script
    @language = N'ONNX',
    @script = @script,
    @input_data_1 = @input_query,
    @parallel = 1,
    @params = N'@model VARBINARY(MAX), @r_rowsPerRead INT',
    @model = @model,
    @r_rowsPerRead = 5000
WITH RESULT SETS ((
    [k0] BIGINT NULL,
    [k1] INT NULL,
    [k2] INT NULL,
    [p0] NVARCHAR(4000) NULL,
    [p1] REAL NULL,
    [p2] REAL NULL,
    [p3] REAL NULL,
    [p4] BIGINT NULL,
    [p5] BIT NULL
))
