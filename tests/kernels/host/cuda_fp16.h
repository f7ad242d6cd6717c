// What kernels need of it is in cuda.h.
#include "cuda.h"
