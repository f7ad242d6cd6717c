// Images as a network wants them: uint8 rows of interleaved channels are resized bilinearly, scaled
// and shifted by channel, and written as planes. Arguments and geometry: src/device/kernels/image.rs.

#include <cuda_fp16.h>
#include <stdint.h>

#define MOST_CHANNELS 4

// What all images of a batch have in common.
struct Image {
    uint32_t count;
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t out_height;
    uint32_t out_width;
    // Input pixels for one output pixel.
    float step_y;
    float step_x;
    float scale[MOST_CHANNELS];
    float offset[MOST_CHANNELS];
};

// Where an output pixel lies between two input pixels.
struct Between {
    uint32_t low;
    uint32_t high;
    float weight;
};

// Pixels are areas: the centre of output pixel 0 is half a step from the edge.
__device__ Between between(uint32_t out, float step, uint32_t size)
{
    const float last = float(size - 1);
    const float place = fminf(fmaxf(fmaf(float(out) + 0.5f, step, -0.5f), 0.0f), last);
    const uint32_t low = uint32_t(place);
    const uint32_t high = low + 1 < size ? low + 1 : low;
    return Between{low, high, place - float(low)};
}

__device__ float mix(float low, float high, float weight) { return fmaf(weight, high - low, low); }

__device__ void store(float *to, float value) { *to = value; }
__device__ void store(__half *to, float value) { *to = __float2half_rn(value); }

template <typename To> __device__ void preprocess(const uint8_t *from, To *to, const Image &image)
{
    const uint64_t plane = uint64_t(image.out_height) * image.out_width;
    const uint64_t row = uint64_t(image.width) * image.channels;
    const uint64_t pixel_count = plane * image.count;
    const uint64_t thread_count = uint64_t(gridDim.x) * blockDim.x;
    for (uint64_t pixel = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; pixel < pixel_count;
         pixel += thread_count) {
        const uint64_t number = pixel / plane;
        const uint64_t within = pixel % plane;
        const Between y = between(uint32_t(within / image.out_width), image.step_y, image.height);
        const Between x = between(uint32_t(within % image.out_width), image.step_x, image.width);
        const uint8_t *above = from + (number * image.height + y.low) * row;
        const uint8_t *below = from + (number * image.height + y.high) * row;
        const uint64_t left = uint64_t(x.low) * image.channels;
        const uint64_t right = uint64_t(x.high) * image.channels;
        for (uint32_t channel = 0; channel < image.channels; ++channel) {
            const float top = mix(above[left + channel], above[right + channel], x.weight);
            const float bottom = mix(below[left + channel], below[right + channel], x.weight);
            const float value = mix(top, bottom, y.weight);
            store(to + (number * image.channels + channel) * plane + within,
                  fmaf(value, image.scale[channel], image.offset[channel]));
        }
    }
}

extern "C" __global__ void despina_image_fp32(const uint8_t *from, float *to, Image image)
{
    preprocess(from, to, image);
}

extern "C" __global__ void despina_image_fp16(const uint8_t *from, __half *to, Image image)
{
    preprocess(from, to, image);
}
