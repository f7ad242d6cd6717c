// Elements of one datatype as those of another. Arguments and geometry: src/device/kernels/cast.rs.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

// Every value goes through a float, rounded to the nearest, ties to even.
__device__ float to_float(float value) { return value; }
__device__ float to_float(__half value) { return __half2float(value); }
__device__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ float to_float(uint8_t value) { return float(value); }

template <typename To> __device__ To from_float(float value);
template <> __device__ float from_float<float>(float value) { return value; }
template <> __device__ __half from_float<__half>(float value) { return __float2half_rn(value); }
template <> __device__ __nv_bfloat16 from_float<__nv_bfloat16>(float value)
{
    return __float2bfloat16_rn(value);
}

template <typename From, typename To>
__device__ void cast(const From *from, To *to, uint64_t count, float scale, float offset)
{
    const uint64_t thread_count = uint64_t(gridDim.x) * blockDim.x;
    for (uint64_t index = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; index < count;
         index += thread_count) {
        to[index] = from_float<To>(fmaf(to_float(from[index]), scale, offset));
    }
}

// fma(x, 1, -0) is x for every x, and a product and a sum are rounded once.
#define CAST(NAME, FROM, TO)                                                                       \
    extern "C" __global__ void NAME(const FROM *from, TO *to, uint64_t count)                      \
    {                                                                                              \
        cast(from, to, count, 1.0f, -0.0f);                                                        \
    }

#define SCALED_CAST(NAME, FROM, TO)                                                                \
    extern "C" __global__ void NAME(const FROM *from, TO *to, uint64_t count, float scale,         \
                                    float offset)                                                  \
    {                                                                                              \
        cast(from, to, count, scale, offset);                                                      \
    }

CAST(despina_cast_fp32_fp16, float, __half)
CAST(despina_cast_fp16_fp32, __half, float)
CAST(despina_cast_fp32_bf16, float, __nv_bfloat16)
CAST(despina_cast_bf16_fp32, __nv_bfloat16, float)
SCALED_CAST(despina_cast_uint8_fp32, uint8_t, float)
SCALED_CAST(despina_cast_uint8_fp16, uint8_t, __half)
SCALED_CAST(despina_cast_uint8_bf16, uint8_t, __nv_bfloat16)
