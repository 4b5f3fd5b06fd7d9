-- register
CREATE EXTERNAL LANGUAGE [ONNX] FROM (CONTENT = 0x504b000102030405... /* 1,026 bytes */, FILE_NAME = 'libonnxextension.so', PLATFORM = LINUX)

-- replace
ALTER EXTERNAL LANGUAGE [ONNX] SET (CONTENT = 0x504b000102030405... /* 1,026 bytes */, FILE_NAME = 'libonnxextension.so', PLATFORM = LINUX)

-- add
ALTER EXTERNAL LANGUAGE [ONNX] ADD (CONTENT = 0x504b000102030405... /* 1,026 bytes */, FILE_NAME = 'onnxextension.dll', PLATFORM = WINDOWS)

-- every output
CREATE OR ALTER PROCEDURE [ward].[score it]
    @input_query NVARCHAR(MAX),
    @parallel BIT = 1,
    @rows_per_read INT = 100000
AS
BEGIN
    SET NOCOUNT ON
    DECLARE @model VARBINARY(MAX) = (SELECT TOP (1) model FROM onnx_models WHERE sha256 = 'abababababababababababababababababababababababababababababababab' AND form = 'normalised' ORDER BY id DESC)
    IF @model IS NULL
    BEGIN
        RAISERROR (N'onnx_models holds no model %s that you may read: onnx-pipeline extension register puts it there', 16, 1, 'abababababababababababababababababababababababababababababababab')
        RETURN 1
    END
    EXEC sp_execute_external_script
        @language = N'ONNX',
        @script = N'keys = "encounter_id", "the key ] é"',
        @input_data_1 = @input_query,
        @parallel = @parallel,
        @params = N'@model VARBINARY(MAX), @r_rowsPerRead INT',
        @model = @model,
        @r_rowsPerRead = @rows_per_read
    WITH RESULT SETS ((
        [encounter_id] BIGINT NULL,
        [the key ]] é] NVARCHAR(450) NULL,
        [label] NVARCHAR(4000) NULL,
        [probabilities_a] REAL NULL,
        [probabilities_b'] REAL NULL,
        [probabilities_c]]] REAL NULL,
        [score] FLOAT NULL,
        [raw_0] BIGINT NULL,
        [raw_1] BIGINT NULL,
        [flag] BIT NULL
    ))
END

-- chosen outputs and features
CREATE OR ALTER PROCEDURE [score]
    @input_query NVARCHAR(MAX),
    @parallel BIT = 1,
    @rows_per_read INT = 100000
AS
BEGIN
    SET NOCOUNT ON
    DECLARE @model VARBINARY(MAX) = (SELECT TOP (1) model FROM onnx_models WHERE sha256 = 'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd' AND form = 'normalised' ORDER BY id DESC)
    IF @model IS NULL
    BEGIN
        RAISERROR (N'onnx_models holds no model %s that you may read: onnx-pipeline extension register puts it there', 16, 1, 'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd')
        RETURN 1
    END
    EXEC sp_execute_external_script
        @language = N'ONNX',
        @script = N'keys = "id"
features = "b", "it''s, ""a"""
outputs = "score", "label"',
        @input_data_1 = @input_query,
        @parallel = @parallel,
        @params = N'@model VARBINARY(MAX), @r_rowsPerRead INT',
        @model = @model,
        @r_rowsPerRead = @rows_per_read
    WITH RESULT SETS ((
        [id] INT NULL,
        [score] FLOAT NULL,
        [label] NVARCHAR(4000) NULL
    ))
END

-- the sample
CREATE OR ALTER PROCEDURE [score_length_of_stay]
    @input_query NVARCHAR(MAX),
    @parallel BIT = 1,
    @rows_per_read INT = 100000
AS
BEGIN
    SET NOCOUNT ON
    DECLARE @model VARBINARY(MAX) = (SELECT TOP (1) model FROM onnx_models WHERE sha256 = '10ce76fb37fa6288c827e7eb2c2ebd319bf0e82f73e7943ebb31b358d631970b' AND form = 'normalised' ORDER BY id DESC)
    IF @model IS NULL
    BEGIN
        RAISERROR (N'onnx_models holds no model %s that you may read: onnx-pipeline extension register puts it there', 16, 1, '10ce76fb37fa6288c827e7eb2c2ebd319bf0e82f73e7943ebb31b358d631970b')
        RETURN 1
    END
    EXEC sp_execute_external_script
        @language = N'ONNX',
        @script = N'keys = "encounter_id"
features = "age", "heart_rate", "systolic_bp", "diastolic_bp", "respiratory_rate", "temperature", "oxygen_saturation", "bmi", "hematocrit", "neutrophils", "sodium", "potassium", "glucose", "blood_urea_nitrogen", "creatinine", "readmission_count", "dialysis", "asthma", "iron_deficiency", "pneumonia", "substance_dependence", "depression", "malnutrition", "hemoglobin_disorder", "heart_failure", "diabetes", "fibrosis"',
        @input_data_1 = @input_query,
        @parallel = @parallel,
        @params = N'@model VARBINARY(MAX), @r_rowsPerRead INT',
        @model = @model,
        @r_rowsPerRead = @rows_per_read
    WITH RESULT SETS ((
        [encounter_id] BIGINT NULL,
        [variable] REAL NULL
    ))
END
