// A registry that takes any file for a library of plugins, if it is there.
#pragma once

#include <cstdio>
#include <cstring>
#include <memory>
#include <set>
#include <string>

#include "NvInferRuntime.h"

namespace fake {

using nvinfer1::AsciiChar;

class Plugins final : public nvinfer1::IPluginRegistry {
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

    void setErrorRecorder(nvinfer1::IErrorRecorder *const) noexcept override {}
    nvinfer1::IErrorRecorder *getErrorRecorder() const noexcept override { return nullptr; }
    bool isParentSearchEnabled() const override { return false; }
    void setParentSearchEnabled(bool const) override {}
    void deregisterLibrary(PluginLibraryHandle) noexcept override {}
    bool registerCreator(nvinfer1::IPluginCreatorInterface &, AsciiChar const *const) noexcept override { return false; }
    nvinfer1::IPluginCreatorInterface *const *getAllCreators(int32_t *const) const noexcept override { return nullptr; }
    nvinfer1::IPluginCreatorInterface *getCreator(
        AsciiChar const *const, AsciiChar const *const, AsciiChar const *const) noexcept override {
        return nullptr;
    }
    bool deregisterCreator(nvinfer1::IPluginCreatorInterface const &) noexcept override { return false; }
    nvinfer1::IPluginResource *acquirePluginResource(AsciiChar const *, nvinfer1::IPluginResource *) noexcept override { return nullptr; }
    int32_t releasePluginResource(AsciiChar const *) noexcept override { return 0; }
    nvinfer1::IPluginCreatorInterface *const *getAllCreatorsRecursive(int32_t *const) noexcept override { return nullptr; }

private:
    std::set<std::string> loaded_;
};

}  // namespace fake
