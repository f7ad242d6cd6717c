// As much of CUDA's language as kernels/*.cu use, for a compiler of the CPU. Blocks run one after the
// other, so that what they share can be static; the threads of one are threads.

#pragma once

#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>

#define __device__ inline
#define __global__
#define __shared__ static

struct Place {
    unsigned x, y, z;
};

inline thread_local Place threadIdx, blockIdx;
inline Place blockDim, gridDim;
inline std::unique_ptr<std::barrier<>> block_barrier;

inline void __syncthreads() { block_barrier->arrive_and_wait(); }

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

inline uint32_t __float_as_uint(float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float float_of(uint32_t bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

using std::isnan;

// The compiler's own half, which rounds to the nearest even.
using __half = _Float16;

inline float __half2float(__half value) { return float(value); }
inline __half __float2half_rn(float value) { return __half(value); }

struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 value) { return float_of(uint32_t(value.bits) << 16); }

inline __nv_bfloat16 __float2bfloat16_rn(float value)
{
    if (std::isnan(value)) {
        return {0x7fff};
    }
    const uint32_t bits = __float_as_uint(value);
    return {uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}
