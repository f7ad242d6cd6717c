// The functions of the CUDA driver that the fake calls, of whatever driver the process has open: the
// pretend one, in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda_runtime_api.h"

namespace fake {

using Address = unsigned long long;

struct Driver {
    int (*allocate)(Address *address, size_t byte_size);
    int (*free)(Address address);
    int (*copy)(Address to, Address from, size_t byte_size, cudaStream_t stream);
    int (*download)(void *to, Address from, size_t byte_size, cudaStream_t stream);
    int (*upload)(Address to, void const *from, size_t byte_size, cudaStream_t stream);
    int (*fill)(Address to, unsigned char value, size_t byte_size, cudaStream_t stream);
    int (*is_capturing)(cudaStream_t stream, int *status);
    int (*current_device)(int *device);
    int (*attribute)(int *value, int attribute, int device);
};

// Null if there is no driver.
Driver const *driver();

// Such as `9.0`: of the device whose context is current.
std::string device_capability();

}  // namespace fake
