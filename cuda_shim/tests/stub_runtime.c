/* A libcudart.so.13 without a GPU. Like the real one it opens the driver by itself, looks everything up through
 * cuGetProcAddress, keeps an error for each thread, and its symbols have versions. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

typedef int (*any)();
static __thread int last_error;

static any driver(const char *name) {
    static int (*look_up)(const char *, void **, int, uint64_t, int *);
    void *function = NULL;
    if (!look_up) {
        void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        look_up = library ? (int (*)(const char *, void **, int, uint64_t, int *))dlsym(library, "cuGetProcAddress_v2") : NULL;
    }
    if (!look_up || look_up(name, &function, 13000, 0, NULL) != 0 || !function)
        abort();
    return (any)function;
}

static int keep(int error) { return error ? (last_error = error) : 0; }

static void use(int device) {
    static __thread int has_context;
    uintptr_t context;
    if (has_context == device + 1)
        return;
    driver("cuInit")(0);
    if (driver("cuDevicePrimaryCtxRetain")(&context, device) == 0) {
        driver("cuCtxSetCurrent")(context);
        has_context = device + 1;
    }
}

int cudaGetDeviceCount(int *count) {
    driver("cuInit")(0);
    return keep(driver("cuDeviceGetCount")(count));
}

int cudaSetDevice(int device) {
    use(device);
    return 0;
}

int cudaMalloc(void **pointer, size_t size) {
    use(0);
    return keep(driver("cuMemAlloc")((uint64_t *)pointer, size));
}

int cudaFree(void *pointer) { return keep(driver("cuMemFree")((uint64_t)pointer)); }

int cudaLaunchKernel(const void *f, void **parameters) {
    static any launch;
    if (!launch)
        launch = driver("cuLaunchKernel");
    use(0);
    return keep(launch(f, 2, 3, 4, 5, 6, 7, 8, (void *)9, parameters, (void **)11));
}

/* What compilers call for <<<>>>: no symbol of the shim's, so it fails in the driver. */
int __cudaLaunchKernel(const void *f, void **parameters) {
    use(0);
    return keep(driver("cuLaunchKernel")(f, 2, 3, 4, 5, 6, 7, 8, (void *)9, parameters, (void **)11));
}

int cudaDeviceSynchronize(void) { return keep(driver("cuStreamSynchronize")((void *)1)); }

int cudaGetLastError(void) {
    int error = last_error;
    last_error = 0;
    return error;
}

int cudaPeekAtLastError(void) { return last_error; }
