// Networks, profiles and configurations of the fake: what a plan is built of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "plan.h"
#include "unused_builder.h"

namespace fake {

// An input of a network.
class Input final : public ITensor, UnusedTensor {
public:
    Input(std::string name, DataType type, Dims dims) : name_(std::move(name)), type_(type), dims_(dims) {
        mImpl = this;
    }

    char const *getName() const noexcept override { return name_.c_str(); }
    DataType getType() const noexcept override { return type_; }
    Dims getDimensions() const noexcept override { return dims_; }
    bool isShapeTensor() const noexcept override { return false; }

private:
    std::string name_;
    DataType type_;
    Dims dims_;
};

// The fake's parser gives it the plan's lines for its name.
class Network final : public INetworkDefinition, UnusedNetworkDefinition {
public:
    explicit Network(IBuilder &builder) : builder_(builder) { mImpl = this; }

    ITensor *addInput(char const *name, DataType type, Dims const &dims) noexcept override;
    int32_t getNbInputs() const noexcept override { return static_cast<int32_t>(inputs_.size()); }
    ITensor *getInput(int32_t index) const noexcept override;
    void setName(char const *name) noexcept override { lines_ = name; }
    char const *getName() const noexcept override { return lines_.c_str(); }
    IBuilder &getBuilder() const noexcept override { return builder_; }

private:
    IBuilder &builder_;
    std::vector<std::unique_ptr<Input>> inputs_;
    std::string lines_;
};

class Profile final : public IOptimizationProfile, UnusedOptimizationProfile {
public:
    Profile() { mImpl = this; }
    ~Profile() noexcept override = default;

    bool setDimensions(char const *input, OptProfileSelector which, Dims const &dims) noexcept override;
    Dims getDimensions(char const *input, OptProfileSelector which) const noexcept override;
    bool isValid() const noexcept override;

    std::map<std::string, Range> ranges;
};

class TimingCache final : public ITimingCache, UnusedTimingCache {
public:
    explicit TimingCache(std::string known) : known(std::move(known)) { mImpl = this; }

    IHostMemory *serialize() const noexcept override;

    // A line for each build.
    std::string known;
};

class Config final : public IBuilderConfig, UnusedBuilderConfig {
public:
    Config() { mImpl = this; }

    void setFlag(BuilderFlag flag) noexcept override { flags_ |= bit(flag); }
    void clearFlag(BuilderFlag flag) noexcept override { flags_ &= ~bit(flag); }
    bool getFlag(BuilderFlag flag) const noexcept override { return (flags_ & bit(flag)) != 0; }
    void setMemoryPoolLimit(MemoryPoolType, size_t byte_size) noexcept override { workspace_bytes = byte_size; }
    void setHardwareCompatibilityLevel(HardwareCompatibilityLevel level) noexcept override { hardware = level; }
    int32_t addOptimizationProfile(IOptimizationProfile const *profile) noexcept override;
    ITimingCache *createTimingCache(void const *blob, size_t byte_size) const noexcept override;
    bool setTimingCache(ITimingCache const &cache, bool) noexcept override;

    std::vector<Profile const *> profiles;
    size_t workspace_bytes = 0;
    HardwareCompatibilityLevel hardware = HardwareCompatibilityLevel::kNONE;
    TimingCache *timing_cache = nullptr;

private:
    static uint32_t bit(BuilderFlag flag) { return 1U << static_cast<uint32_t>(flag); }

    uint32_t flags_ = bit(BuilderFlag::kTF32);
};

class Memory final : public IHostMemory, apiv::VHostMemory {
public:
    explicit Memory(std::string bytes) : bytes_(std::move(bytes)) { mImpl = this; }

    void *data() const noexcept override { return const_cast<char *>(bytes_.data()); }
    size_t size() const noexcept override { return bytes_.size(); }
    DataType type() const noexcept override { return DataType::kUINT8; }

private:
    std::string bytes_;
};

}  // namespace fake
