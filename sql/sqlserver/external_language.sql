-- Registers the external language ONNX from a file that the server can read; an administrator runs it with sqlcmd -i.
-- `onnx-pipeline extension deploy` does the same over the connection, without a file on the server, and replaces what
-- is registered. Before, once for the server:
--   EXEC sp_configure 'external scripts enabled', 1; RECONFIGURE WITH OVERRIDE;
-- Change the path; on Windows also the names: FILE_NAME = ''onnxextension.dll'', PLATFORM = WINDOWS.
IF NOT EXISTS (SELECT 1 FROM sys.external_languages WHERE language = 'ONNX')
EXEC('CREATE EXTERNAL LANGUAGE ONNX FROM (CONTENT = N''/var/opt/mssql/onnxextension.zip'', FILE_NAME = ''libonnxextension.so'', PLATFORM = LINUX)');
