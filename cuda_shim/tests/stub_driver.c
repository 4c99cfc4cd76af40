/* A libcuda.so.1 without a GPU: the entry points that the tests call, with cuda.h's signatures. A kernel "runs" by having
 * all its arguments checked. STUB_GPUS (2 by default) is the number of devices; a context's address is its device + 1. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, NOT_FOUND = 500 };

static int is_initialised;
static __thread uintptr_t current;

static int gpus(void) {
    const char *given = getenv("STUB_GPUS");
    return given ? atoi(given) : 2;
}

int cuInit(unsigned flags) {
    is_initialised = 1;
    return flags ? INVALID_VALUE : SUCCESS;
}

int cuDeviceGetCount(int *count) {
    *count = gpus();
    return is_initialised ? SUCCESS : NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < gpus() ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetUuid_v2(unsigned char uuid[16], int device) {
    memset(uuid, 0, 16);
    uuid[0] = 0xaa;
    uuid[15] = (unsigned char)device;
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(uintptr_t *context, int device) {
    *context = (uintptr_t)device + 1;
    return device >= 0 && device < gpus() ? SUCCESS : INVALID_DEVICE;
}

int cuCtxSetCurrent(uintptr_t context) {
    current = context;
    return SUCCESS;
}

int cuCtxGetDevice(int *device) {
    if (current == 0)
        return INVALID_CONTEXT;
    *device = (int)current - 1;
    return SUCCESS;
}

int cuMemAlloc(unsigned *pointer, unsigned size) { /* the form of CUDA 3: 32-bit pointers */
    *pointer = size;
    return SUCCESS;
}

int cuMemAlloc_v2(uint64_t *pointer, size_t size) {
    *pointer = 0x700000000000u + size;
    return SUCCESS;
}

int cuMemFree_v2(uint64_t pointer) { return pointer ? SUCCESS : INVALID_VALUE; }

int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) { return to && from && size ? SUCCESS : INVALID_VALUE; }

/* 1, 2, 3 … in every argument, so that a lost one is seen */
#define KERNEL(name, result)                                                                                         \
    int name(void *f, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz, unsigned shared,    \
             void *stream, void **parameters, void **extra) {                                                        \
        int intact = f == (void *)1 && x == 2 && y == 3 && z == 4 && bx == 5 && by == 6 && bz == 7 && shared == 8 && \
                     stream == (void *)9 && parameters == (void **)10 && extra == (void **)11;                       \
        return intact ? result : INVALID_VALUE;                                                                      \
    }
KERNEL(cuLaunchKernel, SUCCESS)
KERNEL(cuLaunchKernel_ptsz, 7777) /* a result by which the test knows which one it was */

int cuLaunchKernelEx(const void *config, void *f, void **parameters, void **extra) {
    return config && f == (void *)1 && parameters == (void **)10 && extra == (void **)11 ? SUCCESS : INVALID_VALUE;
}

int cuGraphLaunch(void *graph, void *stream) { return graph && stream ? SUCCESS : INVALID_VALUE; }
int cuStreamSynchronize(void *stream) { return stream ? SUCCESS : INVALID_VALUE; }
int cuEventRecord(void *event, void *stream) { return event && stream ? SUCCESS : INVALID_VALUE; }
int cuModuleLoadData(void **module, const void *image) { return module && image ? SUCCESS : INVALID_VALUE; }

int cuGetErrorString(int error, const char **text) {
    *text = error ? "an error" : "no error";
    return SUCCESS;
}

/* No function of CUDA has such a signature: all that a register can carry, and more than registers hold. */
typedef double four __attribute__((vector_size(32)));
#if defined(__AVX__)
__attribute__((target("avx")))
#endif
int cuGraphicsMapResources(double a, double b, double c, double d, double e, double f, double g, four h, long i, long j,
                           long k, long l, long m, long n, long o, double p, void *q) {
    int intact = a == 1 && b == 2 && c == 3 && d == 4 && e == 5 && f == 6 && g == 7 && h[0] == 8 && h[1] == 8.25 &&
                 h[2] == 8.5 && h[3] == 8.75 && i == 9 && j == 10 && k == 11 && l == 12 && m == 13 && n == 14 && o == 15 &&
                 p == 16 && q == (void *)17;
    return intact ? SUCCESS : INVALID_VALUE;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status);

static void *find(const char *name, int version, uint64_t flags) {
    static const struct {
        const char *name;
        int since;
        uint64_t flags;
        void *function;
    } table[] = {
        {"cuInit", 0, 0, cuInit},
        {"cuDeviceGetCount", 0, 0, cuDeviceGetCount},
        {"cuDeviceGet", 0, 0, cuDeviceGet},
        {"cuDevicePrimaryCtxRetain", 0, 0, cuDevicePrimaryCtxRetain},
        {"cuCtxSetCurrent", 0, 0, cuCtxSetCurrent},
        {"cuCtxGetDevice", 0, 0, cuCtxGetDevice},
        {"cuMemAlloc", 3020, 0, cuMemAlloc_v2},
        {"cuMemAlloc", 0, 0, cuMemAlloc},
        {"cuMemFree", 0, 0, cuMemFree_v2},
        {"cuMemcpyHtoD", 0, 0, cuMemcpyHtoD_v2},
        {"cuLaunchKernel", 7000, 2, cuLaunchKernel_ptsz},
        {"cuLaunchKernel", 0, 0, cuLaunchKernel},
        {"cuLaunchKernelEx", 0, 0, cuLaunchKernelEx},
        {"cuGraphLaunch", 0, 0, cuGraphLaunch},
        {"cuStreamSynchronize", 0, 0, cuStreamSynchronize},
        {"cuEventRecord", 0, 0, cuEventRecord},
        {"cuModuleLoadData", 0, 0, cuModuleLoadData},
        {"cuGetErrorString", 0, 0, cuGetErrorString},
        {"cuGraphicsMapResources", 0, 0, cuGraphicsMapResources},
        {"cuGetProcAddress", 12000, 0, cuGetProcAddress_v2},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0 && version >= table[i].since && (flags & table[i].flags) == table[i].flags)
            return table[i].function;
    return NULL;
}

int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    *function = find(name, version, flags);
    return *function ? SUCCESS : NOT_FOUND;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    *function = find(name, version, flags);
    if (status)
        *status = *function ? 0 : 1;
    return SUCCESS;
}
