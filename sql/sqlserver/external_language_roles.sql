-- What the role `onnx_scorer` (roles.sql) needs to score with the external language ONNX: run after both.
-- What a query reads must be granted too:  GRANT SELECT ON OBJECT::<schema>.<table> TO onnx_scorer;
GRANT EXECUTE ANY EXTERNAL SCRIPT TO onnx_scorer;
EXEC('GRANT EXECUTE EXTERNAL SCRIPT ON EXTERNAL LANGUAGE::ONNX TO onnx_scorer');
GRANT EXECUTE ON OBJECT::sp_onnx_scoring TO onnx_scorer;
GRANT SELECT ON OBJECT::onnx_models TO onnx_scorer;
