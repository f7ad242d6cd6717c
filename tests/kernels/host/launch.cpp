// The kernels' own sources, compiled for the CPU, behind a call like the driver's cuLaunchKernel.

#include <thread>
#include <utility>
#include <vector>

#include "cuda.h"

// Each file for itself, as they are built.
namespace gather {
#include "gather.cu"
}
namespace cast {
#include "cast.cu"
}
namespace image {
#include "image.cu"
}
namespace top_k {
#include "top_k.cu"
}

namespace {

// Calls a kernel with its parameters, each read from where its pointer says.
template <auto Kernel> struct Entry;

template <typename... Parameters, void (*Kernel)(Parameters...)> struct Entry<Kernel> {
    static void run(void **arguments)
    {
        call(arguments, std::index_sequence_for<Parameters...>());
    }

    template <size_t... Index> static void call(void **arguments, std::index_sequence<Index...>)
    {
        Kernel(*static_cast<Parameters *>(arguments[Index])...);
    }
};

struct Named {
    const char *name;
    void (*run)(void **arguments);
};

#define ENTRY(KERNEL) {#KERNEL, Entry<KERNEL>::run}

const Named entries[] = {
    ENTRY(gather::despina_gather),
    ENTRY(gather::despina_scatter),
    ENTRY(cast::despina_cast_fp32_fp16),
    ENTRY(cast::despina_cast_fp16_fp32),
    ENTRY(cast::despina_cast_fp32_bf16),
    ENTRY(cast::despina_cast_bf16_fp32),
    ENTRY(cast::despina_cast_uint8_fp32),
    ENTRY(cast::despina_cast_uint8_fp16),
    ENTRY(cast::despina_cast_uint8_bf16),
    ENTRY(image::despina_image_fp32),
    ENTRY(image::despina_image_fp16),
    ENTRY(top_k::despina_softmax_fp32),
    ENTRY(top_k::despina_top_k_fp32),
    ENTRY(top_k::despina_softmax_top_k_fp32),
};

void run_block(const Named &entry, Place block, unsigned thread_count, void **arguments)
{
    block_barrier = std::make_unique<std::barrier<>>(thread_count);
    std::vector<std::thread> threads;
    for (unsigned thread = 0; thread < thread_count; ++thread) {
        threads.emplace_back([&, thread] {
            threadIdx = {thread, 0, 0};
            blockIdx = block;
            entry.run(arguments);
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
}

} // namespace

// Runs a grid of one-dimensional blocks; `module::entry` is the kernel's name. 0, or 1 if there is no
// such kernel.
extern "C" int launch(const char *name, const unsigned *grid, unsigned thread_count, void **arguments)
{
    for (const Named &entry : entries) {
        if (std::strcmp(entry.name, name) == 0) {
            gridDim = {grid[0], grid[1], 1};
            blockDim = {thread_count, 1, 1};
            for (unsigned y = 0; y < grid[1]; ++y) {
                for (unsigned x = 0; x < grid[0]; ++x) {
                    run_block(entry, {x, y, 0}, thread_count, arguments);
                }
            }
            return 0;
        }
    }
    return 1;
}
