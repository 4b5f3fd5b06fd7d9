-- Least privilege. `onnx_scorer` may score, and `onnx_reader` may look at what was scored.
-- Add the pipeline's login:  ALTER ROLE onnx_scorer ADD MEMBER [<user>];
-- and let it read each source:  GRANT SELECT ON OBJECT::<schema>.<table> TO onnx_scorer;
-- Staging tables lie beside the target, so the scorer makes and drops tables in the target's schema. A schema of its
-- own (see example_target.sql) keeps it out of everybody else's.
IF DATABASE_PRINCIPAL_ID('onnx_scorer') IS NULL CREATE ROLE onnx_scorer;
IF DATABASE_PRINCIPAL_ID('onnx_reader') IS NULL CREATE ROLE onnx_reader;
GRANT CREATE TABLE TO onnx_scorer;
GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, REFERENCES ON SCHEMA::onnx TO onnx_scorer;
GRANT SELECT ON SCHEMA::onnx TO onnx_reader;
GRANT SELECT, INSERT, DELETE ON OBJECT::onnx_scoring_log TO onnx_scorer;
GRANT SELECT, INSERT ON OBJECT::onnx_models TO onnx_scorer;
GRANT SELECT ON OBJECT::onnx_scoring_log TO onnx_reader;
GRANT SELECT ON OBJECT::onnx_models TO onnx_reader;
