-- Scores the rows of a query with a model of the models table, in as many processes as the server gives (@parallel = 1).
-- SQL Server 2019 and later, with the external language ONNX: docs/external-language.md.
--
--   EXEC sp_onnx_scoring @model_id = 1, @input_query = N'SELECT encounter_id, age, heart_rate FROM dbo.encounters';
--
-- The result has the key columns and one column per prediction, as the model's signature says. A parallel query loses
-- the order of its rows: the keys are what matches them again.
--
--   @model_id      id in onnx_models. Or, in its place,
--   @sha256        that of the model's bytes as they came, as predictions carry it: takes what `onnx-pipeline extension
--                  register` registered of it last.
--   @keys          JSON, e.g. N'["encounter_id"]'; by default the first columns of the query, those beyond as many as
--                  the model reads.
--   @outputs       JSON, e.g. N'["label"]': the outputs to return; by default all.
--   @options       further lines of the script, e.g. N'nulls = error'.
--   @rows_per_read rows in memory at once, for each process.
--
-- Runs with the rights of its caller, who needs EXECUTE ANY EXTERNAL SCRIPT, EXECUTE on the language, and SELECT on
-- the models table and on what the query reads: external_language_roles.sql.
CREATE OR ALTER PROCEDURE sp_onnx_scoring
    @model_id      BIGINT        = NULL,
    @input_query   NVARCHAR(MAX),
    @keys          NVARCHAR(MAX) = NULL,
    @outputs       NVARCHAR(MAX) = NULL,
    @options       NVARCHAR(MAX) = N'',
    @parallel      BIT           = 1,
    @rows_per_read INT           = 100000,
    @sha256        NVARCHAR(64)  = NULL
AS
BEGIN
    SET NOCOUNT ON

    DECLARE @model VARBINARY(MAX), @signature NVARCHAR(MAX), @problem NVARCHAR(2048)
    IF @model_id IS NULL
        SELECT TOP (1) @model = model, @signature = [signature] FROM onnx_models WHERE sha256 = @sha256 AND form = N'normalised' ORDER BY id DESC
    ELSE IF @sha256 IS NULL
        SELECT @model = model, @signature = [signature] FROM onnx_models WHERE id = @model_id
    IF @model IS NULL
    BEGIN
        IF @model_id IS NULL AND @sha256 IS NULL OR @model_id IS NOT NULL AND @sha256 IS NOT NULL
            SET @problem = N'Name one model: by @model_id or by @sha256, and not by both'
        ELSE IF @model_id IS NULL
            SET @problem = CONCAT(N'There is no normalised form of model ', @sha256, N' that you may read in onnx_models: onnx-pipeline extension register puts it there')
        ELSE
            SET @problem = CONCAT(N'There is no model ', @model_id, N' that you may read in onnx_models: SELECT id, name FROM onnx_models shows them')
        RAISERROR (N'%s', 16, 1, @problem)
        RETURN 1
    END

    -- What the query gives, without running it.
    DECLARE @given TABLE (place INT, name NVARCHAR(128), kind NVARCHAR(256))
    SELECT TOP (1) @problem = error_message FROM sys.dm_exec_describe_first_result_set(@input_query, NULL, 0)
    IF @problem IS NOT NULL
    BEGIN
        RAISERROR (N'The input query cannot be described: %s', 16, 1, @problem)
        RETURN 1
    END
    INSERT INTO @given (place, name, kind)
    SELECT column_ordinal, name, system_type_name
    FROM sys.dm_exec_describe_first_result_set(@input_query, NULL, 0)
    WHERE is_hidden = 0

    -- A tensor [N] reads one column, [N, F] reads F.
    DECLARE @read INT, @columns INT = (SELECT COUNT(*) FROM @given)
    SELECT @read = CASE WHEN COUNT(tensor.width) = COUNT(*) THEN SUM(tensor.width) END
    FROM (
        SELECT CASE WHEN (SELECT COUNT(*) FROM OPENJSON(value, '$.shape')) = 1 THEN 1 ELSE TRY_CAST(JSON_VALUE(value, '$.shape[1]') AS INT) END AS width
        FROM OPENJSON(@signature, '$.inputs')
    ) AS tensor
    IF @keys IS NULL AND (@read IS NULL OR @columns < @read)
    BEGIN
        SET @problem = CONCAT(N'The input query has ', @columns, N' columns and model ', COALESCE(CAST(@model_id AS NVARCHAR(20)), @sha256), N' reads ', COALESCE(CAST(@read AS NVARCHAR(10)), N'any number'), N': name the key columns, @keys = N''["..."]'', or none by N''[]''')
        RAISERROR (N'%s', 16, 1, @problem)
        RETURN 1
    END
    DECLARE @key TABLE (place INT, name NVARCHAR(128), kind NVARCHAR(256))
    IF @keys IS NULL
        INSERT INTO @key (place, name, kind) SELECT place, name, kind FROM @given WHERE place <= @columns - @read
    ELSE
        INSERT INTO @key (place, name, kind)
        SELECT CAST(named.[key] AS INT), given.name, given.kind
        FROM OPENJSON(@keys) AS named LEFT JOIN @given AS given ON given.name = named.value COLLATE DATABASE_DEFAULT
    IF EXISTS (SELECT 1 FROM @key WHERE name IS NULL)
    BEGIN
        SET @problem = CONCAT(N'A key is no column of the input query, or has no name: ', COALESCE(LEFT(@keys, 1000), N'name it in the query'))
        RAISERROR (N'%s', 16, 1, @problem)
        RETURN 1
    END

    -- The columns of the predictions: <output>, or <output>_<class> for an output [N, K].
    DECLARE @result TABLE (place INT, part INT, name NVARCHAR(300), kind NVARCHAR(20))
    INSERT INTO @result (place, part, name, kind)
    SELECT
        COALESCE(CAST(chosen.[key] AS INT), CAST(tensor.[key] AS INT)),
        CAST(class.[key] AS INT),
        facts.name + CASE WHEN facts.width = 1 THEN N'' WHEN facts.labels IS NULL THEN CONCAT(N'_', CAST(class.[key] AS INT)) ELSE N'_' + class.value COLLATE DATABASE_DEFAULT END,
        CASE
            WHEN facts.width IS NULL THEN NULL
            WHEN facts.dtype IN ('float', 'float16') THEN N'REAL'
            WHEN facts.dtype = 'double' THEN N'FLOAT'
            WHEN facts.dtype IN ('int64', 'uint32') THEN N'BIGINT'
            WHEN facts.dtype IN ('int32', 'uint16') THEN N'INT'
            WHEN facts.dtype IN ('int16', 'int8') THEN N'SMALLINT'
            WHEN facts.dtype = 'uint8' THEN N'TINYINT'
            WHEN facts.dtype = 'bool' THEN N'BIT'
            WHEN facts.dtype = 'string' THEN N'NVARCHAR(4000)'
        END
    FROM OPENJSON(@signature, '$.outputs') AS tensor
    CROSS APPLY (
        SELECT
            JSON_VALUE(tensor.value, '$.name') AS name,
            JSON_VALUE(tensor.value, '$.dtype') AS dtype,
            JSON_QUERY(tensor.value, '$.labels') AS labels,
            CASE WHEN (SELECT COUNT(*) FROM OPENJSON(tensor.value, '$.shape')) = 1 THEN 1 ELSE TRY_CAST(JSON_VALUE(tensor.value, '$.shape[1]') AS INT) END AS width
    ) AS facts
    -- As many rows as the output has columns.
    CROSS APPLY OPENJSON(CASE WHEN facts.width > 1 AND facts.labels IS NOT NULL THEN facts.labels ELSE N'[0' + REPLICATE(CAST(N',0' AS NVARCHAR(MAX)), COALESCE(facts.width, 1) - 1) + N']' END) AS class
    LEFT JOIN OPENJSON(COALESCE(@outputs, N'[]')) AS chosen ON chosen.value COLLATE DATABASE_DEFAULT = facts.name
    WHERE @outputs IS NULL OR chosen.value IS NOT NULL
    IF NOT EXISTS (SELECT 1 FROM @result) OR EXISTS (SELECT 1 FROM @result WHERE kind IS NULL)
    BEGIN
        SET @problem = CONCAT(N'No result can be made of the outputs ', COALESCE(@outputs, N'of the model'), N' with the signature ', LEFT(@signature, 1000))
        RAISERROR (N'%s', 16, 1, @problem)
        RETURN 1
    END

    DECLARE @script NVARCHAR(MAX) = N'', @sets NVARCHAR(MAX)
    SELECT @script = @script + N'keys = ' + STRING_AGG(CAST(N'"' + REPLACE(name, N'"', N'""') + N'"' AS NVARCHAR(MAX)), N', ') WITHIN GROUP (ORDER BY place) + NCHAR(10)
    FROM @key
    HAVING COUNT(*) > 0
    IF @outputs IS NOT NULL
        SELECT @script = @script + N'outputs = ' + STRING_AGG(CAST(N'"' + REPLACE(value, N'"', N'""') + N'"' AS NVARCHAR(MAX)), N', ') WITHIN GROUP (ORDER BY CAST([key] AS INT)) + NCHAR(10)
        FROM OPENJSON(@outputs)
    SET @script = @script + COALESCE(@options, N'')

    SELECT @sets = STRING_AGG(CAST(N'[' + REPLACE(name, N']', N']]') + N'] ' + kind + N' NULL' AS NVARCHAR(MAX)), N', ') WITHIN GROUP (ORDER BY place, part)
    FROM (
        SELECT place - 100000 AS place, 0 AS part, name, kind FROM @key
        UNION ALL
        SELECT place, part, name, kind FROM @result
    ) AS together

    DECLARE @statement NVARCHAR(MAX) = N'EXEC sp_execute_external_script @language = N''ONNX'', @script = @script, @input_data_1 = @input_query, @parallel = ' + CAST(COALESCE(@parallel, 1) AS NCHAR(1)) + N', @params = N''@model VARBINARY(MAX), @r_rowsPerRead INT'', @model = @model, @r_rowsPerRead = @rows WITH RESULT SETS ((' + @sets + N'))'
    EXEC sp_executesql @statement, N'@script NVARCHAR(MAX), @input_query NVARCHAR(MAX), @model VARBINARY(MAX), @rows INT', @script = @script, @input_query = @input_query, @model = @model, @rows = @rows_per_read
END;
