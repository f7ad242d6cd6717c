// Many copies in one launch: the rows of a batch from where its requests lie into one slab, and back.
// The requests' ends may be device memory or mapped pinned host memory. Arguments and geometry:
// src/device/kernels/gather.rs.

#include <stdint.h>

// One copy. `address` is the request's end; 0 stands for zeros, which pad a batch or a row.
struct Span {
    uint64_t address;
    uint64_t offset;
    uint64_t byte_size;
};

// This thread's part of a copy in whole units; returns how many bytes the units of all threads hold.
template <typename Unit>
__device__ uint64_t copy_units(uint8_t *to, const uint8_t *from, uint64_t byte_size, uint64_t thread,
                               uint64_t thread_count)
{
    const uint64_t count = byte_size / sizeof(Unit);
    Unit *destination = reinterpret_cast<Unit *>(to);
    const Unit *source = reinterpret_cast<const Unit *>(from);
    for (uint64_t unit = thread; unit < count; unit += thread_count) {
        destination[unit] = source == nullptr ? Unit{} : source[unit];
    }
    return count * sizeof(Unit);
}

// Copies with all threads of the grid's row, in the widest units for which both ends are aligned.
__device__ void copy(uint8_t *to, const uint8_t *from, uint64_t byte_size)
{
    const uint64_t thread = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    const uint64_t thread_count = uint64_t(gridDim.x) * blockDim.x;
    const uint64_t ends = reinterpret_cast<uint64_t>(to) | reinterpret_cast<uint64_t>(from);
    uint64_t copied = 0;
    if (ends % sizeof(uint4) == 0) {
        copied = copy_units<uint4>(to, from, byte_size, thread, thread_count);
    } else if (ends % sizeof(uint32_t) == 0) {
        copied = copy_units<uint32_t>(to, from, byte_size, thread, thread_count);
    }
    for (uint64_t byte = copied + thread; byte < byte_size; byte += thread_count) {
        to[byte] = from == nullptr ? uint8_t(0) : from[byte];
    }
}

extern "C" __global__ void despina_gather(const Span *spans, uint32_t span_count, uint8_t *slab)
{
    for (uint32_t index = blockIdx.y; index < span_count; index += gridDim.y) {
        const Span span = spans[index];
        copy(slab + span.offset, reinterpret_cast<const uint8_t *>(span.address), span.byte_size);
    }
}

// A span of zeros has nowhere to go and is left out.
extern "C" __global__ void despina_scatter(const Span *spans, uint32_t span_count, const uint8_t *slab)
{
    for (uint32_t index = blockIdx.y; index < span_count; index += gridDim.y) {
        const Span span = spans[index];
        if (span.address != 0) {
            copy(reinterpret_cast<uint8_t *>(span.address), slab + span.offset, span.byte_size);
        }
    }
}
