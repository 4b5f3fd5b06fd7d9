-- What the role `onnx_scorer` (roles.sql) needs to score with sp_onnx_service_scoring: run after both.
-- Beside it, SELECT on what the query reads, INSERT on the target, and the credential by its name:
--   GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[https://<service>] TO onnx_scorer;
EXEC('GRANT EXECUTE ANY EXTERNAL ENDPOINT TO onnx_scorer');
GRANT EXECUTE ON OBJECT::sp_onnx_service_scoring TO onnx_scorer;
