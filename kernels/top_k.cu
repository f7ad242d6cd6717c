// Rows of scores: softmax, and the largest elements with their indices. A block takes a row at a time.
// Arguments and geometry: src/device/kernels/top_k.rs.

#include <stdint.h>

// Threads of a block; the launch has to agree.
#define THREADS 256

struct Largest {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
    __device__ uint64_t operator()(uint64_t a, uint64_t b) const { return a > b ? a : b; }
};

struct Sum {
    __device__ float operator()(float a, float b) const { return a + b; }
};

// What `combine` makes of the values of all threads; every thread gets it.
template <typename Value, typename Combine>
__device__ Value reduce(Value *shared, Value own, Combine combine)
{
    shared[threadIdx.x] = own;
    __syncthreads();
    for (uint32_t half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + half]);
        }
        __syncthreads();
    }
    const Value result = shared[0];
    __syncthreads();
    return result;
}

// What a row's elements are divided by, as exp(x - largest) / sum.
struct Norm {
    float largest;
    float sum;
};

__device__ Norm norm(float *shared, const float *row, uint32_t columns)
{
    float largest = -INFINITY;
    for (uint32_t column = threadIdx.x; column < columns; column += THREADS) {
        largest = fmaxf(largest, row[column]);
    }
    largest = reduce(shared, largest, Largest());
    float sum = 0.0f;
    for (uint32_t column = threadIdx.x; column < columns; column += THREADS) {
        sum += expf(row[column] - largest);
    }
    return Norm{largest, reduce(shared, sum, Sum())};
}

// Orders as the values do, both zeros alike and NaN below all; of equal values the lower index is
// the greater. Never 0.
__device__ uint64_t rank(float value, uint32_t column)
{
    uint32_t order = 0;
    if (!isnan(value)) {
        // Adding a positive zero makes -0 one.
        const uint32_t bits = __float_as_uint(value + 0.0f);
        order = bits >> 31 ? ~bits : bits | 0x80000000u;
    }
    return uint64_t(order) << 32 | uint32_t(~column);
}

// The columns of the `count` largest, one after the other: each is the largest of those that rank
// below the one before. `count` is at most `columns`.
template <typename Write>
__device__ void largest(uint64_t *shared, const float *row, uint32_t columns, uint32_t count,
                        const Write &write)
{
    uint64_t before = UINT64_MAX;
    for (uint32_t place = 0; place < count; ++place) {
        uint64_t best = 0;
        for (uint32_t column = threadIdx.x; column < columns; column += THREADS) {
            const uint64_t candidate = rank(row[column], column);
            if (candidate < before && candidate > best) {
                best = candidate;
            }
        }
        before = reduce(shared, best, Largest());
        if (threadIdx.x == 0) {
            write(place, ~uint32_t(before));
        }
    }
}

struct WriteValue {
    const float *row;
    float *values;
    uint32_t *indices;

    __device__ void operator()(uint32_t place, uint32_t column) const
    {
        values[place] = row[column];
        indices[place] = column;
    }
};

struct WriteProbability {
    const float *row;
    float *values;
    uint32_t *indices;
    Norm norm;

    __device__ void operator()(uint32_t place, uint32_t column) const
    {
        values[place] = expf(row[column] - norm.largest) / norm.sum;
        indices[place] = column;
    }
};

extern "C" __global__ void despina_softmax_fp32(const float *from, float *to, uint32_t rows,
                                                uint32_t columns)
{
    __shared__ float shared[THREADS];
    for (uint32_t index = blockIdx.x; index < rows; index += gridDim.x) {
        const float *row = from + uint64_t(index) * columns;
        float *out = to + uint64_t(index) * columns;
        const Norm over = norm(shared, row, columns);
        for (uint32_t column = threadIdx.x; column < columns; column += THREADS) {
            out[column] = expf(row[column] - over.largest) / over.sum;
        }
    }
}

extern "C" __global__ void despina_top_k_fp32(const float *from, float *values, uint32_t *indices,
                                              uint32_t rows, uint32_t columns, uint32_t count)
{
    __shared__ uint64_t ranks[THREADS];
    for (uint32_t index = blockIdx.x; index < rows; index += gridDim.x) {
        const float *row = from + uint64_t(index) * columns;
        const uint64_t out = uint64_t(index) * count;
        largest(ranks, row, columns, count, WriteValue{row, values + out, indices + out});
    }
}

extern "C" __global__ void despina_softmax_top_k_fp32(const float *from, float *values,
                                                      uint32_t *indices, uint32_t rows,
                                                      uint32_t columns, uint32_t count)
{
    __shared__ float shared[THREADS];
    __shared__ uint64_t ranks[THREADS];
    for (uint32_t index = blockIdx.x; index < rows; index += gridDim.x) {
        const float *row = from + uint64_t(index) * columns;
        const uint64_t out = uint64_t(index) * count;
        const Norm over = norm(shared, row, columns);
        largest(ranks, row, columns, count, WriteProbability{row, values + out, indices + out, over});
    }
}
