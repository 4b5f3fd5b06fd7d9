SET NOCOUNT ON
DECLARE @model VARBINARY(MAX) = (SELECT model FROM onnx_models WHERE id = @model_id)
IF @model IS NULL
BEGIN
    RAISERROR (N'onnx_models holds no model %I64d that you may read', 16, 1, @model_id)
    RETURN
END
EXEC sp_execute_external_script
    @language = ${language},
    @script = @script,
    @input_data_1 = @input_query,
    @parallel = ${parallel},
    @params = ${declared},
    ${given}
WITH RESULT SETS ((
    ${columns}
))
