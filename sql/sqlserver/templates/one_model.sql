CREATE OR ALTER PROCEDURE ${procedure}
    @input_query NVARCHAR(MAX),
    @parallel BIT = 1,
    @rows_per_read INT = 100000
AS
BEGIN
    SET NOCOUNT ON
    DECLARE @model VARBINARY(MAX) = (SELECT TOP (1) model FROM onnx_models WHERE sha256 = ${sha256} AND form = ${form} ORDER BY id DESC)
    IF @model IS NULL
    BEGIN
        RAISERROR (N'onnx_models holds no model %s that you may read: onnx-pipeline extension register puts it there', 16, 1, ${sha256})
        RETURN 1
    END
    EXEC sp_execute_external_script
        @language = ${language},
        @script = ${script},
        @input_data_1 = @input_query,
        @parallel = @parallel,
        @params = N'@model VARBINARY(MAX), @r_rowsPerRead INT',
        @model = @model,
        @r_rowsPerRead = @rows_per_read
    WITH RESULT SETS ((
        ${columns}
    ))
END
