"""The sample model `digits` on ONNX Runtime. A batch of requests is one run."""

import os
import sys

sys.path.append(os.environ["PEER_PACKAGES"])

import numpy
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["PEER_DIGITS"], options)

    def execute(self, requests):
        rows = [
            pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy() for request in requests
        ]
        (output,) = self.session.run(["PROBS"], {"IMAGE": numpy.concatenate(rows)})
        ends = numpy.cumsum([len(row) for row in rows])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("PROBS", part)])
            for part in numpy.split(output, ends)
        ]
