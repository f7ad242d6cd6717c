#include "driver.h"

#include <dlfcn.h>

namespace fake {
namespace {

template <typename Function>
bool find(void *library, char const *name, Function &function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

bool open(Driver &driver) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    return library != nullptr && find(library, "cuMemAlloc_v2", driver.allocate)
        && find(library, "cuMemFree_v2", driver.free)
        && find(library, "cuMemcpyDtoDAsync_v2", driver.copy)
        && find(library, "cuMemcpyDtoHAsync_v2", driver.download)
        && find(library, "cuMemcpyHtoDAsync_v2", driver.upload)
        && find(library, "cuMemsetD8Async", driver.fill)
        && find(library, "cuStreamIsCapturing", driver.is_capturing)
        && find(library, "cuCtxGetDevice", driver.current_device)
        && find(library, "cuDeviceGetAttribute", driver.attribute);
}

}  // namespace

Driver const *driver() {
    static Driver opened{};
    static bool const is_there = open(opened);
    return is_there ? &opened : nullptr;
}

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

}  // namespace fake
