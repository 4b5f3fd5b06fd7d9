-- Scores a query through the scoring service, which the server itself calls over HTTPS: Azure SQL Database, Azure SQL
-- Managed Instance, SQL Server 2025 and SQL database in Fabric. docs/service-from-sql.md says when that is the way.
--
--   EXEC sp_onnx_service_scoring
--       @url = N'https://scoring.azurewebsites.net/models/length_of_stay/score',
--       @query = N'SELECT encounter_id, age, heart_rate FROM dbo.encounters',
--       @keys = N'["encounter_id"]',
--       @target = N'dbo.length_of_stay_scored',
--       @credential = N'https://scoring.azurewebsites.net';
--
-- Every column of the query that is no key goes to the service, by its name. Keys stay here, and come back beside their
-- row's predictions. @target stands already: it has the key columns, and one column for each prediction that is wanted,
-- named as the service names it. All rows are added to it by one INSERT, after the last batch was answered: a call that
-- fails anywhere writes nothing.
--
--   @credential    name of the DATABASE SCOPED CREDENTIAL that holds the service's key; none where it asks for none.
--   @headers       more headers as JSON, e.g. N'{"x-onnx-nulls": "nan"}'.
--   @batch_rows    rows of one request. Fewer where they would take more than @payload_bytes.
--   @payload_bytes most bytes of a request, reckoned as UTF-8 at its longest. The server sends 100 MB at most, and the
--                  service takes 64 MiB (`--max-body-bytes`).
--   @timeout       seconds that a request may take, 1 to 230.
--   @tries         how often a request is sent that is answered by 429 or 503: in between it waits as long as the
--                  service says in Retry-After, 60 seconds at most.
--   @sha256        the model that is wanted; comes back as the one that scored. All batches are scored by one model:
--                  where the service takes up another one in between, it answers 409.
CREATE OR ALTER PROCEDURE sp_onnx_service_scoring
    @url           NVARCHAR(4000),
    @query         NVARCHAR(MAX),
    @keys          NVARCHAR(MAX),
    @target        NVARCHAR(600),
    @credential    SYSNAME        = NULL,
    @headers       NVARCHAR(4000) = NULL,
    @batch_rows    INT            = 10000,
    @payload_bytes BIGINT         = 40000000,
    @timeout       SMALLINT       = 120,
    @tries         INT            = 6,
    @sha256        NVARCHAR(64)   = NULL OUTPUT
AS
BEGIN
    SET NOCOUNT ON

    DECLARE @problem NVARCHAR(2048), @statement NVARCHAR(MAX)
    DECLARE @into NVARCHAR(600) = QUOTENAME(OBJECT_SCHEMA_NAME(OBJECT_ID(@target))) + N'.' + QUOTENAME(OBJECT_NAME(OBJECT_ID(@target)))

    IF COALESCE(@batch_rows, 0) < 1 OR COALESCE(@tries, 0) < 1
        SET @problem = N'@batch_rows and @tries are 1 or more'
    ELSE IF COALESCE(ISJSON(@headers), 1) = 0
        SET @problem = N'@headers is no JSON: write N''{"name": "value"}'''
    ELSE IF COALESCE(ISJSON(@keys), 0) = 0
        SET @problem = N'@keys is no JSON: name the key columns as N''["encounter_id"]'''
    ELSE IF @into IS NULL OR PARSENAME(@target, 3) IS NOT NULL
        SET @problem = CONCAT(N'There is no table ', COALESCE(@target, N'(NULL)'), N' in this database that you may see: make it, with the key columns and one column for each prediction')
    IF @problem IS NOT NULL
    BEGIN
        RAISERROR (N'%s. Nothing was sent.', 16, 1, @problem)
        RETURN 1
    END

    -- What the query gives and what the target has, without running either.
    DECLARE @given TABLE (place INT, name NVARCHAR(128), kind NVARCHAR(256), collation_name NVARCHAR(128), is_key BIT)
    DECLARE @wanted TABLE (name NVARCHAR(128), kind NVARCHAR(256))
    SELECT TOP (1) @problem = error_message FROM sys.dm_exec_describe_first_result_set(@query, NULL, 0)
    IF @problem IS NOT NULL
    BEGIN
        RAISERROR (N'The query cannot be described: %s', 16, 1, @problem)
        RETURN 1
    END
    INSERT INTO @given (place, name, kind, collation_name, is_key)
    SELECT
        described.column_ordinal,
        described.name,
        described.system_type_name,
        described.collation_name,
        CASE WHEN named.value IS NULL THEN 0 ELSE 1 END
    FROM sys.dm_exec_describe_first_result_set(@query, NULL, 0) AS described
    LEFT JOIN OPENJSON(@keys) AS named ON named.value COLLATE DATABASE_DEFAULT = described.name COLLATE DATABASE_DEFAULT
    WHERE described.is_hidden = 0
    SET @statement = N'SELECT * FROM ' + @into
    INSERT INTO @wanted (name, kind)
    SELECT name, system_type_name FROM sys.dm_exec_describe_first_result_set(@statement, NULL, 0)

    IF EXISTS (SELECT 1 FROM @given WHERE name IS NULL)
        SET @problem = N'A column of the query has no name: give it one'
    ELSE IF (SELECT COUNT(*) FROM @given WHERE is_key = 1) <> (SELECT COUNT(*) FROM OPENJSON(@keys))
        SET @problem = CONCAT(N'A key is no column of the query: ', LEFT(@keys, 1000))
    ELSE IF NOT EXISTS (SELECT 1 FROM @given WHERE is_key = 0)
        SET @problem = N'Every column of the query is a key, so there is nothing to score'
    ELSE IF EXISTS (SELECT 1 FROM @given AS given WHERE given.is_key = 1 AND NOT EXISTS (SELECT 1 FROM @wanted AS wanted WHERE wanted.name = given.name))
        SET @problem = CONCAT(@target, N' lacks a key column: ', LEFT(@keys, 1000))
    IF @problem IS NOT NULL
    BEGIN
        RAISERROR (N'%s. Nothing was sent.', 16, 1, @problem)
        RETURN 1
    END

    -- The rows as they are now, numbered, so that answers find their keys.
    CREATE TABLE #onnx_rows (onnx_row INT IDENTITY(1, 1) PRIMARY KEY)
    DECLARE @columns NVARCHAR(MAX), @added NVARCHAR(MAX), @features NVARCHAR(MAX), @own_keys NVARCHAR(MAX), @keys_of_rows NVARCHAR(MAX)
    SELECT
        @columns = STRING_AGG(CAST(QUOTENAME(name) AS NVARCHAR(MAX)), N', ') WITHIN GROUP (ORDER BY place),
        @added = STRING_AGG(CAST(N'ALTER TABLE #onnx_rows ADD ' + QUOTENAME(name) + N' ' + kind + CASE WHEN collation_name IS NULL THEN N'' ELSE N' COLLATE ' + collation_name END + N' NULL' AS NVARCHAR(MAX)), N'; ') WITHIN GROUP (ORDER BY place)
    FROM @given
    -- A REAL has 8 digits in JSON, which are too few to give it back; as FLOAT it has 16.
    SELECT @features = STRING_AGG(CAST(CASE WHEN kind = N'real' THEN N'CAST(' + QUOTENAME(name) + N' AS FLOAT) AS ' ELSE N'' END + QUOTENAME(name) AS NVARCHAR(MAX)), N', ') WITHIN GROUP (ORDER BY place)
    FROM @given WHERE is_key = 0
    SELECT
        @own_keys = STRING_AGG(CAST(QUOTENAME(name) AS NVARCHAR(MAX)), N', ') WITHIN GROUP (ORDER BY place),
        @keys_of_rows = STRING_AGG(CAST(N'rows_of.' + QUOTENAME(name) AS NVARCHAR(MAX)), N', ') WITHIN GROUP (ORDER BY place)
    FROM @given WHERE is_key = 1
    EXEC sp_executesql @added
    SET @statement = N'INSERT INTO #onnx_rows (' + @columns + N') EXEC (@query)'
    EXEC sp_executesql @statement, N'@query NVARCHAR(MAX)', @query = @query

    CREATE TABLE #onnx_answers (first_row INT PRIMARY KEY, records NVARCHAR(MAX) NOT NULL)
    DECLARE @first INT = 1, @last INT, @rows INT = (SELECT COUNT(*) FROM #onnx_rows), @most INT = @batch_rows
    DECLARE @payload NVARCHAR(MAX), @response NVARCHAR(MAX), @records NVARCHAR(MAX), @status INT, @try INT, @wait INT, @delay CHAR(8), @sent NVARCHAR(4000), @place INT, @key NVARCHAR(1000)
    -- PATH makes an object of a name with a dot, AUTO does not.
    DECLARE @shape NVARCHAR(4) = CASE WHEN EXISTS (SELECT 1 FROM @given WHERE CHARINDEX(N'.', name) > 0) THEN N'AUTO' ELSE N'PATH' END
    DECLARE @pack NVARCHAR(MAX) = N'SET @payload = (SELECT ' + @features + N' FROM #onnx_rows WHERE onnx_row BETWEEN @first AND @last ORDER BY onnx_row FOR JSON ' + @shape + N', INCLUDE_NULL_VALUES)'

    WHILE @first <= @rows
    BEGIN
        SET @last = CASE WHEN @rows - @first < @most THEN @rows ELSE @first + @most - 1 END
        EXEC sp_executesql @pack, N'@first INT, @last INT, @payload NVARCHAR(MAX) OUTPUT', @first = @first, @last = @last, @payload = @payload OUTPUT
        -- Of two bytes here UTF-8 makes three at most.
        IF DATALENGTH(@payload) / 2 * 3 > @payload_bytes
        BEGIN
            IF @first = @last
            BEGIN
                RAISERROR (N'Row %d of the query alone is above @payload_bytes. Nothing was written.', 16, 1, @first)
                RETURN 1
            END
            SET @most = (@last - @first + 1) / 2
            CONTINUE
        END

        SET @try = 0
        WHILE 1 = 1
        BEGIN
            SET @sent = COALESCE(@headers, N'{}')
            IF @sha256 IS NOT NULL
                SET @sent = JSON_MODIFY(@sent, N'$."x-onnx-model-sha256"', @sha256)
            SET @try = @try + 1
            SET @response = NULL
            IF @credential IS NULL
                EXEC @status = sp_invoke_external_rest_endpoint @url = @url, @method = N'POST', @headers = @sent, @payload = @payload, @timeout = @timeout, @response = @response OUTPUT
            ELSE
                EXEC @status = sp_invoke_external_rest_endpoint @url = @url, @method = N'POST', @headers = @sent, @payload = @payload, @timeout = @timeout, @credential = @credential, @response = @response OUTPUT
            IF @status NOT IN (429, 503) OR @try >= @tries
                BREAK
            SET @wait = NULL
            SELECT @wait = TRY_CAST(value AS INT) FROM OPENJSON(@response, N'$.response.headers') WHERE LOWER([key]) = N'retry-after'
            SET @wait = COALESCE(@wait, POWER(2, CASE WHEN @try > 6 THEN 6 ELSE @try END))
            SET @wait = CASE WHEN @wait < 1 THEN 1 WHEN @wait > 60 THEN 60 ELSE @wait END
            SET @delay = CONVERT(CHAR(8), DATEADD(SECOND, @wait, CAST('2000-01-01' AS DATETIME)), 108)
            WAITFOR DELAY @delay
        END

        IF @status <> 0
        BEGIN
            SET @place = @first + TRY_CAST(JSON_VALUE(@response, N'$.result.error.row') AS INT)
            SET @key = NULL
            IF @place IS NOT NULL AND @own_keys IS NOT NULL
            BEGIN
                SET @statement = N'SET @key = (SELECT ' + @own_keys + N' FROM #onnx_rows WHERE onnx_row = @place FOR JSON PATH, INCLUDE_NULL_VALUES)'
                EXEC sp_executesql @statement, N'@place INT, @key NVARCHAR(1000) OUTPUT', @place = @place, @key = @key OUTPUT
            END
            SET @problem = LEFT(CONCAT(
                N'The service answered ', @status, N' to rows ', @first, N' to ', @last, N' of the query, after ', @try, N' tries: ',
                COALESCE(JSON_VALUE(@response, N'$.result.error.message'), JSON_VALUE(@response, N'$.result.error'), JSON_VALUE(@response, N'$.result'), JSON_VALUE(@response, N'$.response.status.http.description'), N'it said nothing'),
                N' (', COALESCE(JSON_VALUE(@response, N'$.result.error.code'), N'no code'), N')', N'; the keys of that row: ' + @key), 1900)
            RAISERROR (N'%s. Nothing was written.', 16, 1, @problem)
            RETURN 1
        END

        SET @records = JSON_QUERY(@response, N'$.result')
        IF @records IS NULL OR (SELECT COUNT(*) FROM OPENJSON(@records)) <> @last - @first + 1
        BEGIN
            RAISERROR (N'The service answered rows %d to %d of the query with another number of predictions: is @url the address of a model of the scoring service, /models/<name>/score? Nothing was written.', 16, 1, @first, @last)
            RETURN 1
        END
        INSERT INTO #onnx_answers (first_row, records) VALUES (@first, @records)
        IF @sha256 IS NULL
            SELECT @sha256 = LEFT(value, 64) FROM OPENJSON(@response, N'$.response.headers') WHERE LOWER([key]) = N'x-onnx-model-sha256'
        SET @first = @last + 1
    END
    IF @rows = 0
        RETURN 0

    -- The predictions that the target has a column for.
    DECLARE @outputs NVARCHAR(MAX), @typed NVARCHAR(MAX), @answered NVARCHAR(MAX)
    SELECT
        @outputs = STRING_AGG(CAST(N', ' + QUOTENAME(wanted.name) AS NVARCHAR(MAX)), N''),
        @answered = STRING_AGG(CAST(N', predicted.' + QUOTENAME(wanted.name) AS NVARCHAR(MAX)), N''),
        @typed = STRING_AGG(CAST(QUOTENAME(wanted.name) + N' ' + wanted.kind + N' N''$."' + REPLACE(STRING_ESCAPE(answer.[key], N'json'), N'''', N'''''') + N'"''' AS NVARCHAR(MAX)), N', ')
    FROM @wanted AS wanted
    INNER JOIN OPENJSON((SELECT records FROM #onnx_answers WHERE first_row = 1), N'$[0]') AS answer ON answer.[key] COLLATE DATABASE_DEFAULT = wanted.name COLLATE DATABASE_DEFAULT
    WHERE wanted.name NOT IN (SELECT name FROM @given WHERE is_key = 1)
    IF @outputs IS NULL
    BEGIN
        SELECT @problem = LEFT(STRING_AGG(CAST([key] AS NVARCHAR(MAX)), N', '), 1000) FROM OPENJSON((SELECT records FROM #onnx_answers WHERE first_row = 1), N'$[0]')
        RAISERROR (N'%s has no column for any prediction. The service gives %s. Nothing was written.', 16, 1, @target, @problem)
        RETURN 1
    END
    SET @statement = N'INSERT INTO ' + @into + N' (' + COALESCE(@own_keys + @outputs, STUFF(@outputs, 1, 2, N'')) + N') SELECT ' + COALESCE(@keys_of_rows + @answered, STUFF(@answered, 1, 2, N''))
        + N' FROM #onnx_answers AS answers CROSS APPLY OPENJSON(answers.records) AS one CROSS APPLY OPENJSON(one.value) WITH (' + @typed + N') AS predicted'
        + N' INNER JOIN #onnx_rows AS rows_of ON rows_of.onnx_row = answers.first_row + CAST(one.[key] AS INT)'
    EXEC sp_executesql @statement
END;
