/* A CUDA program: gets its functions in one of the ways that frameworks do, then does what standard input says, one
 * command a line, and answers each with one line. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef double four __attribute__((vector_size(32)));
typedef int (*any)();
typedef int (*odd)(double, double, double, double, double, double, double, four, long, long, long, long, long, long, long,
                   double, void *);

static void *library;
static int (*look_up)(const char *, void **, int, uint64_t, int *);
static const char *way;
static uint64_t flags;

#ifdef LINKED
#define LIST(X)                                                                                                       \
    X(cuInit) X(cuDeviceGetCount) X(cuDeviceGet) X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuMemAlloc_v2)      \
    X(cuMemFree_v2) X(cuMemcpyHtoD_v2) X(cuLaunchKernel) X(cuLaunchKernelEx) X(cuGraphLaunch) X(cuStreamSynchronize)  \
    X(cuEventRecord) X(cuModuleLoadData) X(cuGetErrorString) X(cuGraphicsMapResources) X(cuGetProcAddress_v2)         \
    X(cudaGetDeviceCount) X(cudaSetDevice) X(cudaMalloc) X(cudaFree) X(cudaLaunchKernel) X(__cudaLaunchKernel) X(cudaDeviceSynchronize)     \
    X(cudaGetLastError) X(cudaPeekAtLastError)
#define DECLARE(name) extern int name();
LIST(DECLARE)
static void *linked(const char *name) {
    char versioned[128];
    snprintf(versioned, sizeof versioned, "%s_v2", name);
#define COMPARE(entry)                                                                                                \
    if (strcmp(name, #entry) == 0 || strcmp(versioned, #entry) == 0)                                                  \
        return (void *)entry;
    LIST(COMPARE)
    return NULL;
}
#endif

/* The name as libraries export it. */
static const char *exported(const char *name, char *place) {
    static const char *const second[] = {"cuMemAlloc", "cuMemFree", "cuMemcpyHtoD"};
    strcpy(place, name);
    for (size_t i = 0; i < sizeof second / sizeof *second; i++)
        if (strcmp(name, second[i]) == 0)
            strcat(place, "_v2");
    return place;
}

static any find(const char *name) {
    char place[128];
    void *function = NULL;
#ifdef LINKED
    function = linked(name);
#else
    if (strcmp(way, "dlsym") == 0)
        function = dlsym(library, exported(name, place));
    else if (strcmp(way, "dlvsym") == 0)
        function = dlvsym(library, exported(name, place), "libcuda_stub");
    else if (strcmp(way, "default") == 0)
        function = dlsym(RTLD_DEFAULT, exported(name, place));
    else if (strcmp(way, "next") == 0)
        function = dlsym(RTLD_NEXT, exported(name, place));
    else if (look_up)
        look_up(name, &function, strcmp(way, "old") == 0 ? 3000 : 13000, flags, NULL);
#endif
    return (any)function;
}

static void open_driver(void) {
#ifndef LINKED
    library = dlopen("libcuda.so.1", RTLD_NOW | (strcmp(way, "default") && strcmp(way, "next") ? RTLD_LOCAL : RTLD_GLOBAL));
    if (!library) {
        printf("no driver: %s\n", dlerror());
        exit(3);
    }
    if (strcmp(way, "proc") == 0 || strcmp(way, "ptsz") == 0 || strcmp(way, "old") == 0)
        look_up = (int (*)(const char *, void **, int, uint64_t, int *))dlsym(library, "cuGetProcAddress_v2");
    if (strcmp(way, "proc1") == 0)
        look_up = (int (*)(const char *, void **, int, uint64_t, int *))dlsym(library, "cuGetProcAddress");
    if (strcmp(way, "procproc") == 0) { /* the first form, asked for the second one */
        int (*first)(const char *, void **, int, uint64_t) = (int (*)(const char *, void **, int, uint64_t))dlsym(library, "cuGetProcAddress");
        first("cuGetProcAddress", (void **)&look_up, 13000, 0);
    }
    flags = strcmp(way, "ptsz") == 0 ? 2 : 0;
#endif
}

static int launch(void) {
    any function = find("cuLaunchKernel");
    return function ? function((void *)1, 2, 3, 4, 5, 6, 7, 8, (void *)9, (void **)10, (void **)11) : -1;
}

static int call_odd(void) {
    odd function = (odd)find("cuGraphicsMapResources");
    return function ? function(1, 2, 3, 4, 5, 6, 7, (four){8, 8.25, 8.5, 8.75}, 9, 10, 11, 12, 13, 14, 15, 16, (void *)17) : -1;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static _Atomic long failures, calls;
static atomic_bool ends;

static void *hammer(void *count) {
    any function = find("cuLaunchKernel");
    for (long i = 0; i < (long)count && !ends; i++) {
        int error = function((void *)1, 2, 3, 4, 5, 6, 7, 8, (void *)9, (void **)10, (void **)11);
        calls++;
        failures += error != 0;
    }
    return NULL;
}

static void *set_and_launch(void *device) {
    uintptr_t context = 0;
    find("cuDevicePrimaryCtxRetain")(&context, (int)(long)device);
    find("cuCtxSetCurrent")((uintptr_t)(long)device + 1);
    return (void *)(long)launch();
}

static long in_child(int does_exec, char **argv) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (does_exec) {
            setenv("PROBE_ONCE", "1", 1);
            execv("/proc/self/exe", argv);
            _exit(99);
        }
        int error = launch();
        _exit(error == 0 ? 0 : error == 999 ? 42 : 43);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static long threads(long count, long each) {
    pthread_t all[64];
    failures = calls = 0;
    ends = 0;
    for (long i = 0; i < count; i++)
        pthread_create(&all[i], NULL, hammer, (void *)each);
    for (long i = 0; i < count; i++)
        pthread_join(all[i], NULL);
    return failures;
}

/* Calls until the first failure; microseconds on the monotonic clock, for the toggle's latency. */
static void until_failure(void) {
    any function = find("cuLaunchKernel");
    double end = now() + 10;
    while (now() < end)
        if (function((void *)1, 2, 3, 4, 5, 6, 7, 8, (void *)9, (void **)10, (void **)11) != 0) {
            printf("%.6f\n", now());
            return;
        }
    printf("never\n");
}

static void nanoseconds(long count) {
    any function = find("cuLaunchKernel");
    double start = now();
    for (long i = 0; i < count; i++)
        function((void *)1, 2, 3, 4, 5, 6, 7, 8, (void *)9, (void **)10, (void **)11);
    printf("%.3f\n", (now() - start) / (double)count * 1e9);
}

static int command(const char *name, long a, long b, char **argv) {
    static uint64_t memory = 1;
    static char buffer[8];
    int number = -1;
    const char *text = "";
    if (strcmp(name, "init") == 0) return find("cuInit")(0);
    if (strcmp(name, "count") == 0) { int error = find("cuDeviceGetCount")(&number); return error ? error : -1000 - number; }
    if (strcmp(name, "get") == 0) return find("cuDeviceGet")(&number, (int)a);
    if (strcmp(name, "use") == 0) return find("cuCtxSetCurrent")((uintptr_t)a + 1);
    if (strcmp(name, "retain") == 0) { uintptr_t context; return find("cuDevicePrimaryCtxRetain")(&context, (int)a); }
    if (strcmp(name, "alloc") == 0) { int error = find("cuMemAlloc")(&memory, 64L); return error ? error : memory == 64 ? -3 : 0; }
    if (strcmp(name, "free") == 0) return find("cuMemFree")((uint64_t)1);
    if (strcmp(name, "copy") == 0) return find("cuMemcpyHtoD")((uint64_t)1, buffer, sizeof buffer);
    if (strcmp(name, "launch") == 0) return launch();
    if (strcmp(name, "launchex") == 0) return find("cuLaunchKernelEx")(buffer, (void *)1, (void **)10, (void **)11);
    if (strcmp(name, "graph") == 0) return find("cuGraphLaunch")((void *)1, (void *)1);
    if (strcmp(name, "wait") == 0) return find("cuStreamSynchronize")((void *)1);
    if (strcmp(name, "record") == 0) return find("cuEventRecord")((void *)1, (void *)1);
    if (strcmp(name, "module") == 0) return find("cuModuleLoadData")((void **)&text, buffer);
    if (strcmp(name, "odd") == 0) return call_odd();
    if (strcmp(name, "text") == 0) return find("cuGetErrorString")(1, &text);
    if (strcmp(name, "fork") == 0) return (int)in_child(0, argv);
    if (strcmp(name, "exec") == 0) return (int)in_child(1, argv);
    if (strcmp(name, "threads") == 0) return (int)threads(a, b);
    if (strcmp(name, "other") == 0) { pthread_t thread; void *error; pthread_create(&thread, NULL, set_and_launch, (void *)a); pthread_join(thread, &error); return (int)(long)error; }
    if (strcmp(name, "reopen") == 0) { for (long i = 0; i < a; i++) { dlclose(library); open_driver(); launch(); } return 0; }
    if (strcmp(name, "closeall") == 0) { for (int i = 3; i < 1024; i++) close(i); return 0; }
    if (strcmp(name, "descriptors") == 0) { int lowest = dup(0); close(lowest); return lowest; }
    if (strcmp(name, "missing") == 0) return find("cuArrayCreate_v2") ? 1 : 0;
    if (strcmp(name, "message") == 0) { dlerror(); return dlsym(RTLD_DEFAULT, "cuArrayCreate_v2") == NULL && dlerror() != NULL; }
#ifdef LINKED
    if (strcmp(name, "rcount") == 0) { int error = cudaGetDeviceCount(&number); return error ? error : -1000 - number; }
    if (strcmp(name, "rset") == 0) return cudaSetDevice((int)a);
    if (strcmp(name, "rmalloc") == 0) return cudaMalloc(&memory, 64L);
    if (strcmp(name, "rfree") == 0) return cudaFree((void *)1);
    if (strcmp(name, "rlaunch") == 0) return cudaLaunchKernel((void *)1, (void **)10);
    if (strcmp(name, "rstub") == 0) return __cudaLaunchKernel((void *)1, (void **)10);
    if (strcmp(name, "rwait") == 0) return cudaDeviceSynchronize();
    if (strcmp(name, "rlast") == 0) return cudaGetLastError();
    if (strcmp(name, "rpeek") == 0) return cudaPeekAtLastError();
    if (strcmp(name, "unknown") == 0) { extern int cuArrayCreate_v2() __attribute__((weak)); return cuArrayCreate_v2 ? cuArrayCreate_v2() : -4; }
#endif
    return -2;
}

int main(int argc, char **argv) {
    char line[256], name[64];
    way = argc > 1 ? argv[1] : "dlsym";
    open_driver();
    if (getenv("PROBE_ONCE"))
        return launch() == 0 ? 0 : 42;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        long a = 0, b = 0;
        sscanf(line, "%63s %ld %ld", name, &a, &b);
        if (strcmp(name, "until") == 0) until_failure();
        else if (strcmp(name, "ns") == 0) nanoseconds(a);
        else if (strcmp(name, "exit") == 0) exit((int)a);
        else printf("%d\n", command(name, a, b, argv));
    }
    return 0;
}
