"""The tree as MLServer's custom runtime: its own codecs, and ONNX Runtime."""

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Tree(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        matrix = NumpyCodec.decode_input(payload.inputs[0])
        (days,) = self._session.run(None, {"features": matrix.astype("float32")})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("variable", days)])
