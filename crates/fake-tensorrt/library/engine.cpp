#include "engine.h"

#include "context.h"

using namespace nvinfer1;

namespace fake {

void log_error(ILogger &logger, std::string const &message) {
    logger.log(ILogger::Severity::kERROR, message.c_str());
}

Engine::Engine(ILogger &logger, Plan plan)
    : logger_(logger), plan_(std::move(plan)), budget_(plan_.streamable_bytes) {
    mImpl = this;
}

Engine::~Engine() noexcept {
    if (context_count != 0) {
        log_error(logger_, "an engine was destroyed before its contexts");
    }
    give_weights();
}

bool Engine::load() {
    return take_weights();
}

size_t Engine::resident_bytes() const {
    return plan_.weight_bytes - plan_.streamable_bytes + budget_;
}

bool Engine::take_weights() {
    if (resident_bytes() == 0) {
        return true;
    }
    if (driver()->allocate(&weights_, resident_bytes()) != 0) {
        weights_ = 0;
        log_error(logger_, "Requested amount of GPU memory (" + std::to_string(resident_bytes())
            + " bytes) could not be allocated");
        return false;
    }
    return true;
}

void Engine::give_weights() {
    if (weights_ != 0) {
        driver()->free(weights_);
        weights_ = 0;
    }
}

IExecutionContext *Engine::createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
    if (plan_.has_no_context || strategy != ExecutionContextAllocationStrategy::kUSER_MANAGED) {
        log_error(logger_, "a context cannot be made");
        return reinterpret_cast<IExecutionContext *>(kFailed);
    }
    return new Context(*this);
}

int32_t Engine::getNbOptimizationProfiles() const noexcept {
    return static_cast<int32_t>(plan_.profiles.size());
}

int32_t Engine::getNbIOTensors() const noexcept {
    return static_cast<int32_t>(plan_.tensors.size());
}

char const *Engine::getIOTensorName(int32_t index) const noexcept {
    return plan_.tensors.at(static_cast<size_t>(index)).name.c_str();
}

Dims Engine::getTensorShape(char const *name) const noexcept {
    Tensor const *tensor = plan_.find(name);
    return tensor == nullptr ? Dims{-1, {}} : tensor->shape;
}

DataType Engine::getTensorDataType(char const *name) const noexcept {
    Tensor const *tensor = plan_.find(name);
    return tensor == nullptr ? DataType::kFLOAT : tensor->type;
}

TensorLocation Engine::getTensorLocation(char const *name) const noexcept {
    Tensor const *tensor = plan_.find(name);
    return tensor != nullptr && tensor->is_on_host ? TensorLocation::kHOST : TensorLocation::kDEVICE;
}

TensorIOMode Engine::getTensorIOMode(char const *name) const noexcept {
    Tensor const *tensor = plan_.find(name);
    if (tensor == nullptr) {
        return TensorIOMode::kNONE;
    }
    return tensor->is_input ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
}

TensorFormat Engine::getTensorFormat(char const *name) const noexcept {
    Tensor const *tensor = plan_.find(name);
    return tensor == nullptr || tensor->is_linear ? TensorFormat::kLINEAR : TensorFormat::kCHW32;
}

Dims Engine::getProfileShape(char const *name, int32_t profile, OptProfileSelector which) const noexcept {
    Tensor const *tensor = plan_.find(name);
    if (tensor == nullptr || !tensor->is_input || profile < 0 || profile >= getNbOptimizationProfiles()) {
        return Dims{-1, {}};
    }
    auto const &ranges = plan_.profiles[static_cast<size_t>(profile)];
    auto const range = ranges.find(tensor->name);
    // What does not vary has one shape in every profile.
    return range == ranges.end() ? tensor->shape : range->second[static_cast<size_t>(which)];
}

int64_t Engine::getStreamableWeightsSize() const noexcept {
    return static_cast<int64_t>(plan_.streamable_bytes);
}

bool Engine::setWeightStreamingBudgetV2(int64_t byte_size) noexcept {
    if (byte_size < 0 || plan_.streamable_bytes == 0 || context_count != 0) {
        log_error(logger_, "the weight streaming budget cannot be set");
        return false;
    }
    give_weights();
    budget_ = std::min(static_cast<size_t>(byte_size), plan_.streamable_bytes);
    return take_weights();
}

int64_t Engine::getWeightStreamingAutomaticBudget() const noexcept {
    return static_cast<int64_t>(plan_.streamable_bytes / 2);
}

int64_t Engine::getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept {
    // Later profiles are for larger shapes.
    return static_cast<int64_t>(plan_.workspace_bytes) * (profile + 1);
}

}  // namespace fake
