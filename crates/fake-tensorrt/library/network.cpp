#include "builder.h"

#include "engine.h"

namespace fake {

ITensor *Network::addInput(char const *name, DataType type, Dims const &dims) noexcept {
    inputs_.push_back(std::make_unique<Input>(name, type, dims));
    return inputs_.back().get();
}

ITensor *Network::getInput(int32_t index) const noexcept {
    return inputs_.at(static_cast<size_t>(index)).get();
}

bool Profile::setDimensions(char const *input, OptProfileSelector which, Dims const &dims) noexcept {
    ranges[input][static_cast<size_t>(which)] = dims;
    return true;
}

Dims Profile::getDimensions(char const *input, OptProfileSelector which) const noexcept {
    auto const found = ranges.find(input);
    return found == ranges.end() ? Dims{-1, {}} : found->second[static_cast<size_t>(which)];
}

bool Profile::isValid() const noexcept {
    for (auto const &[name, range] : ranges) {
        Dims const &best = range[1];
        for (int32_t index = 0; index < best.nbDims; ++index) {
            bool const is_sorted = range[0].d[index] <= best.d[index] && best.d[index] <= range[2].d[index];
            if (!is_sorted || range[0].nbDims != best.nbDims || range[2].nbDims != best.nbDims) {
                return false;
            }
        }
    }
    return true;
}

IHostMemory *TimingCache::serialize() const noexcept {
    return new Memory(known);
}

int32_t Config::addOptimizationProfile(IOptimizationProfile const *profile) noexcept {
    profiles.push_back(static_cast<Profile const *>(profile));
    return static_cast<int32_t>(profiles.size()) - 1;
}

ITimingCache *Config::createTimingCache(void const *blob, size_t byte_size) const noexcept {
    std::string const known(static_cast<char const *>(blob), byte_size);
    if (byte_size != 0 && known.rfind("timing", 0) != 0) {
        return reinterpret_cast<ITimingCache *>(kFailed);
    }
    return new TimingCache(known);
}

bool Config::setTimingCache(ITimingCache const &cache, bool) noexcept {
    timing_cache = static_cast<TimingCache *>(const_cast<ITimingCache *>(&cache));
    return true;
}

}  // namespace fake
