INSERT INTO [dbo].[onnx_landing_...] ([id], [__changed], [__nulls_0], [__misfits_0], [x_out], [n_out], [i_out], [flag_out], [word_out])
EXEC sp_executesql N'...',
    N'@input_query NVARCHAR(MAX), @script NVARCHAR(MAX), @model_id BIGINT, @layout NVARCHAR(MAX)',
    @input_query = N'SELECT CAST(features.id AS NVARCHAR(4000)) AS k0, convert(NVARCHAR(4000), features.__changed, 126) AS k1, CAST(features.__nulls_0 AS FLOAT(53)) AS k2, CAST(features.__misfits_0 AS FLOAT(53)) AS k3, features.x AS x0, CAST(coalesce(features.n, CAST(-7 AS BIGINT)) AS NVARCHAR(20)) AS x1, CAST(features.i AS FLOAT(53)) AS x2, CAST(CAST(features.flag AS SMALLINT) AS FLOAT(53)) AS x3, coalesce(features.word, N''it''''s ünknown'') AS x4 
FROM (SELECT source.id AS id, source.at AS __changed, CASE WHEN (source.x IS NULL) THEN 1 ELSE 0 END + CASE WHEN (source.n IS NULL) THEN 2 ELSE 0 END + CASE WHEN (source.i IS NULL) THEN 4 ELSE 0 END + CASE WHEN (source.flag IS NULL) THEN 8 ELSE 0 END + CASE WHEN (source.word IS NULL) THEN 16 ELSE 0 END AS __nulls_0, CASE WHEN (abs(source.x) >= 3.4028235677973366e+38 AND abs(source.x) <= 1.7976931348623157e+308) THEN 1 ELSE 0 END AS __misfits_0, CASE WHEN (abs(source.x) >= 3.4028235677973366e+38 AND abs(source.x) <= 1.7976931348623157e+308) THEN CAST(NULL AS REAL) ELSE CAST(source.x AS REAL) END AS x, source.n AS n, source.i AS i, source.flag AS flag, source.word AS word 
FROM rows AS source) AS features',
    @script = N'...',
    @model_id = 1,
    @layout = N'{"keys": [{"column": "k0", "called": "id", "form": "text"}, {"column": "k1", "called": "__changed", "form": "text"}, {"column": "k2", "called": "__nulls_0", "form": "number"}, {"column": "k3", "called": "__misfits_0", "form": "number"}], "inputs": [{"name": "x", "dtype": "float", "rank": 2, "columns": ["x0"], "called": ["x"]}, {"name": "n", "dtype": "int64", "rank": 2, "columns": ["x1"], "called": ["n"]}, {"name": "i", "dtype": "int32", "rank": 2, "columns": ["x2"], "called": ["i"]}, {"name": "flag", "dtype": "bool", "rank": 2, "columns": ["x3"], "called": ["flag"]}, {"name": "word", "dtype": "string", "rank": 2, "columns": ["x4"], "called": ["word"]}], "outputs": [{"output": "x_out", "index": 0, "form": "number"}, {"output": "n_out", "index": 0, "form": "text"}, {"output": "i_out", "index": 0, "form": "number"}, {"output": "flag_out", "index": 0, "form": "number"}, {"output": "word_out", "index": 0, "form": "text"}], "batch_rows": 65536, "fixed_batch": null, "threads": 2}'

-- the batch
SET NOCOUNT ON
DECLARE @model VARBINARY(MAX) = (SELECT model FROM onnx_models WHERE id = @model_id)
IF @model IS NULL
BEGIN
    RAISERROR (N'onnx_models holds no model %I64d that you may read', 16, 1, @model_id)
    RETURN
END
EXEC sp_execute_external_script
    @language = N'Python',
    @script = @script,
    @input_data_1 = @input_query,
    @parallel = 1,
    @params = N'@model VARBINARY(MAX), @r_rowsPerRead INT, @layout NVARCHAR(MAX)',
    @model = @model,
    @r_rowsPerRead = 5000,
    @layout = @layout
WITH RESULT SETS ((
    [k0] NVARCHAR(4000) NULL,
    [k1] NVARCHAR(4000) NULL,
    [k2] FLOAT NULL,
    [k3] FLOAT NULL,
    [p0] FLOAT NULL,
    [p1] NVARCHAR(MAX) NULL,
    [p2] FLOAT NULL,
    [p3] FLOAT NULL,
    [p4] NVARCHAR(MAX) NULL
))
