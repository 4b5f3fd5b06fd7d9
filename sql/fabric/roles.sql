-- Least privilege. `onnx_scorer` may score, and `onnx_reader` may look at what was scored.
-- Add the pipeline's user:  ALTER ROLE onnx_scorer ADD MEMBER [<user>];
-- and let it read each source:  GRANT SELECT ON OBJECT::<schema>.<table> TO onnx_scorer;
-- The user also has to see the warehouse: share it, or make the user a Viewer of the workspace.
-- ADMINISTER DATABASE BULK OPERATIONS is what COPY INTO takes.
IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = 'onnx_scorer') CREATE ROLE onnx_scorer;
IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = 'onnx_reader') CREATE ROLE onnx_reader;
GRANT CREATE TABLE TO onnx_scorer;
GRANT ADMINISTER DATABASE BULK OPERATIONS TO onnx_scorer;
GRANT SELECT, INSERT, UPDATE, DELETE, ALTER ON SCHEMA::onnx TO onnx_scorer;
GRANT SELECT ON SCHEMA::onnx TO onnx_reader;
GRANT SELECT, INSERT, DELETE ON OBJECT::onnx_scoring_log TO onnx_scorer;
GRANT SELECT, INSERT ON OBJECT::onnx_models TO onnx_scorer;
GRANT SELECT ON OBJECT::onnx_scoring_log TO onnx_reader;
GRANT SELECT ON OBJECT::onnx_models TO onnx_reader;
