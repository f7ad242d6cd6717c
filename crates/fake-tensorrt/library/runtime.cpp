// Runtimes of the fake, and what it exports.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "engine.h"

using namespace nvinfer1;

namespace fake {
namespace {

// Takes any file for a library of plugins, if it is there.
class Plugins final : public IPluginRegistry {
public:
    bool has(std::string const &name) const { return loaded_.count(name) != 0; }

    PluginLibraryHandle loadLibrary(AsciiChar const *path) noexcept override {
        std::unique_ptr<FILE, int (*)(FILE *)> const file(std::fopen(path, "r"), std::fclose);
        if (file == nullptr) {
            return nullptr;
        }
        char const *slash = std::strrchr(path, '/');
        loaded_.insert(slash == nullptr ? path : slash + 1);
        return this;
    }

    void setErrorRecorder(IErrorRecorder *const) noexcept override {}
    IErrorRecorder *getErrorRecorder() const noexcept override { return nullptr; }
    bool isParentSearchEnabled() const override { return false; }
    void setParentSearchEnabled(bool const) override {}
    void deregisterLibrary(PluginLibraryHandle) noexcept override {}
    bool registerCreator(IPluginCreatorInterface &, AsciiChar const *const) noexcept override { return false; }
    IPluginCreatorInterface *const *getAllCreators(int32_t *const) const noexcept override { return nullptr; }
    IPluginCreatorInterface *getCreator(
        AsciiChar const *const, AsciiChar const *const, AsciiChar const *const) noexcept override {
        return nullptr;
    }
    bool deregisterCreator(IPluginCreatorInterface const &) noexcept override { return false; }
    IPluginResource *acquirePluginResource(AsciiChar const *, IPluginResource *) noexcept override { return nullptr; }
    int32_t releasePluginResource(AsciiChar const *) noexcept override { return 0; }
    IPluginCreatorInterface *const *getAllCreatorsRecursive(int32_t *const) noexcept override { return nullptr; }

private:
    std::set<std::string> loaded_;
};

std::string device_capability() {
    constexpr int kMajor = 75;
    constexpr int kMinor = 76;
    int device = 0;
    int major = 0;
    int minor = 0;
    driver()->current_device(&device);
    driver()->attribute(&major, kMajor, device);
    driver()->attribute(&minor, kMinor, device);
    return std::to_string(major) + "." + std::to_string(minor);
}

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
