"""The models as MLServer runs them."""

import os

import numpy
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse, ResponseOutput


class Echo(MLModel):
    async def predict(self, payload):
        tensor = payload.inputs[0]
        output = ResponseOutput(
            name="OUTPUT0", shape=tensor.shape, datatype=tensor.datatype, data=tensor.data
        )
        return InferenceResponse(model_name=self.name, outputs=[output])


class Digits(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["PEER_DIGITS"], options)
        return True

    async def predict(self, payload):
        image = NumpyCodec.decode_input(payload.inputs[0]).astype(numpy.float32)
        (output,) = self.session.run(["PROBS"], {"IMAGE": image.reshape(-1, 1, 8, 8)})
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("PROBS", output)]
        )
