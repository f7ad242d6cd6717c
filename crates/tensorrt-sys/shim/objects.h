// What the shim's handles are, and the checks that all of it shares.
#pragma once

#include <memory>

#include "NvInferRuntime.h"
#include "tensorrt_shim.h"

static_assert(NV_TENSORRT_MAJOR == 10 || NV_TENSORRT_MAJOR == 11,
              "Despina knows the interfaces of TensorRT 10 and 11");

namespace shim {

// Hands TensorRT's messages on. May be called from any thread.
class Logger final : public nvinfer1::ILogger {
public:
    Logger(trt_log_fn log, void *user) : log_(log), user_(user) {}

    void log(Severity severity, nvinfer1::AsciiChar const *message) noexcept override {
        if (message != nullptr) {
            log_(user_, static_cast<int32_t>(severity), message);
        }
    }

private:
    trt_log_fn log_;
    void *user_;
};

// A failed call may answer with a null pointer to which the offset of a base class was added: no
// object lies in the first pages of memory.
template <typename T>
T *checked(T *object) {
    constexpr uintptr_t kFirstPages = 65536;
    return reinterpret_cast<uintptr_t>(object) < kFirstPages ? nullptr : object;
}

trt_dims to_c(nvinfer1::Dims const &dims);
// Whether `dims` has a count of dimensions that `Dims` can hold; fills it.
bool to_cpp(trt_dims const *dims, nvinfer1::Dims &out);

}  // namespace shim

// Members are destroyed from the last to the first: the runtime before the logger that it uses.
struct trt_runtime {
    shim::Logger logger;
    std::unique_ptr<nvinfer1::IRuntime> object;
};

struct trt_engine {
    std::unique_ptr<nvinfer1::ICudaEngine> object;
};

struct trt_context {
    std::unique_ptr<nvinfer1::IExecutionContext> object;
};
