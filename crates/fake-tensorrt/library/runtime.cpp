// Runtimes of the fake, and what it exports.
#include <cstdlib>
#include <memory>

#include "engine.h"
#include "plugins.h"

using namespace nvinfer1;

namespace fake {
namespace {

class Runtime final : public IRuntime, UnusedRuntime {
public:
    explicit Runtime(ILogger &logger) : logger_(logger) { mImpl = this; }

    IRuntime *getPImpl() noexcept override { return this; }
    IPluginRegistry &getPluginRegistry() noexcept override { return plugins_; }
    void setEngineHostCodeAllowed(bool allowed) noexcept override { host_code_allowed_ = allowed; }
    bool getEngineHostCodeAllowed() const noexcept override { return host_code_allowed_; }

    ICudaEngine *deserializeCudaEngine(void const *blob, size_t byte_size) noexcept override {
        Plan plan;
        std::string fault;
        if (!parse(blob, byte_size, plan, fault) || !fits(plan, fault)) {
            log_error(logger_, fault);
            return nullptr;
        }
        auto engine = std::make_unique<Engine>(logger_, plan);
        return engine->load() ? engine.release() : nullptr;
    }

private:
    bool fits(Plan const &plan, std::string &fault) const {
        std::string const here = device_capability();
        if (!plan.capability.empty() && plan.capability != here) {
            fault = "The engine plan file is generated on an incompatible device, expecting compute " + here
                + " got compute " + plan.capability + ", please rebuild.";
        } else if (plan.has_host_code && !host_code_allowed_) {
            fault = "The plan has host code, which is not allowed";
        } else if (!plan.plugins.empty() && !plugins_.has(plan.plugins)) {
            fault = "Cannot find plugin of " + plan.plugins;
        }
        return fault.empty();
    }

    ILogger &logger_;
    Plugins plugins_;
    bool host_code_allowed_ = false;
};

}  // namespace
}  // namespace fake

extern "C" {

int32_t getInferLibVersion() noexcept {
    char const *told = std::getenv("FAKE_TENSORRT_VERSION");
    return told == nullptr ? static_cast<int32_t>(NV_TENSORRT_VERSION) : std::atoi(told);
}

void *createInferRuntime_INTERNAL(void *logger, int32_t) noexcept {
    auto &log = *static_cast<ILogger *>(logger);
    if (fake::driver() == nullptr || std::getenv("FAKE_TENSORRT_NO_RUNTIME") != nullptr) {
        fake::log_error(log, "CUDA initialization failure with error: 35");
        return reinterpret_cast<void *>(fake::kFailed);
    }
    return static_cast<IRuntime *>(new fake::Runtime(log));
}

}  // extern "C"
