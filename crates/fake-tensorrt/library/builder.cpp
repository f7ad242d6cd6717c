// Builders of the fake, which write the plans that its runtime reads.
#include "builder.h"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "driver.h"
#include "engine.h"
#include "plugins.h"

namespace fake {
namespace {

std::string setting(char const *name) {
    char const *value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// Appends a line to the file that the test counts builds in.
void note(char const *line) {
    std::string const path = setting("FAKE_TENSORRT_BUILD_LOG");
    if (!path.empty()) {
        std::ofstream(path, std::ios::app) << line << '\n';
    }
}

// A build is as slow as the test wants: until a file is there.
void wait_for_gate() {
    std::string const gate = setting("FAKE_TENSORRT_BUILD_GATE");
    while (!gate.empty() && !std::ifstream(gate).good()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

std::string shown(Dims const &dims) {
    std::string text;
    for (int32_t index = 0; index < dims.nbDims; ++index) {
        text += (index == 0 ? "" : "x") + std::to_string(dims.d[index]);
    }
    return text;
}

std::string header() {
    std::string bytes = "ftrt";
    bytes.resize(24, '\0');
    bytes += {NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH, NV_TENSORRT_BUILD};
    return bytes;
}

std::string replaced(std::string text, std::string const &what, std::string const &by) {
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
        text.replace(at, what.size(), by);
    }
    return text;
}

// Whether every variable input has a shape of its rank in every profile.
bool is_covered(Network const &network, Config const &config) {
    for (int32_t index = 0; index < network.getNbInputs(); ++index) {
        ITensor const &input = *network.getInput(index);
        Dims const dims = input.getDimensions();
        bool const is_variable = shown(dims).find('-') != std::string::npos;
        for (Profile const *profile : config.profiles) {
            Dims const best = profile->getDimensions(input.getName(), OptProfileSelector::kOPT);
            if (is_variable && best.nbDims != dims.nbDims) {
                return false;
            }
        }
        if (is_variable && config.profiles.empty()) {
            return false;
        }
    }
    return true;
}

std::string plan_of(Network const &network, Config const &config) {
    std::ostringstream lines;
    std::string text = network.getName();
    if (setting("FAKE_TENSORRT_BUILD") == "wrong") {
        text = replaced(text, "run copy", "run zero");
    }
    lines << header() << text;
    if (config.hardware == HardwareCompatibilityLevel::kNONE) {
        lines << "capability " << device_capability() << '\n';
    }
    if (config.getFlag(BuilderFlag::kVERSION_COMPATIBLE)) {
        lines << "hostcode\n";
    }
    if (config.workspace_bytes != 0) {
        lines << "workspace " << config.workspace_bytes << '\n';
    }
    for (Profile const *profile : config.profiles) {
        lines << "profile";
        for (auto const &[name, range] : profile->ranges) {
            lines << ' ' << name << '=' << shown(range[0]) << '/' << shown(range[1]) << '/' << shown(range[2]);
        }
        lines << '\n';
    }
    return lines.str();
}

class Builder final : public IBuilder, UnusedBuilder {
public:
    explicit Builder(ILogger &logger) : logger_(logger) { mImpl = this; }

    IBuilderConfig *createBuilderConfig() noexcept override { return new Config; }
    INetworkDefinition *createNetworkV2(NetworkDefinitionCreationFlags) noexcept override {
        return new Network(*this);
    }
    IOptimizationProfile *createOptimizationProfile() noexcept override {
        profiles_.push_back(std::make_unique<Profile>());
        return profiles_.back().get();
    }
    IPluginRegistry &getPluginRegistry() noexcept override { return plugins_; }

    IHostMemory *buildSerializedNetwork(INetworkDefinition &network, IBuilderConfig &config) noexcept override {
        note("began");
        wait_for_gate();
        std::string const wanted = setting("FAKE_TENSORRT_BUILD");
        if (wanted == "crashes") {
            std::abort();
        }
        auto const &ours = static_cast<Network const &>(network);
        auto &settings = static_cast<Config &>(config);
        if (wanted == "fails") {
            return fail("Error Code 10: Internal Error (Could not find any implementation for node ANY.)");
        }
        if (!is_covered(ours, settings)) {
            return fail("Network has dynamic or shape inputs, but no optimization profile has been defined.");
        }
        if (settings.timing_cache != nullptr) {
            settings.timing_cache->known += "timing of a build\n";
        }
        note("built");
        return new Memory(plan_of(ours, settings));
    }

private:
    IHostMemory *fail(char const *message) {
        log_error(logger_, message);
        return reinterpret_cast<IHostMemory *>(kFailed);
    }

    ILogger &logger_;
    Plugins plugins_;
    std::vector<std::unique_ptr<Profile>> profiles_;
};

}  // namespace
}  // namespace fake

extern "C" void *createInferBuilder_INTERNAL(void *logger, int32_t) noexcept {
    auto &log = *static_cast<nvinfer1::ILogger *>(logger);
    if (fake::driver() == nullptr) {
        fake::log_error(log, "CUDA initialization failure with error: 35");
        return reinterpret_cast<void *>(fake::kFailed);
    }
    return static_cast<nvinfer1::IBuilder *>(new fake::Builder(log));
}
