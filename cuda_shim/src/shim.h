/* A library for LD_PRELOAD that makes CUDA calls fail on command. See docs/cuda-shim.md. */
#ifndef DYNAMO_FAULT_CUDA_SHIM_H
#define DYNAMO_FAULT_CUDA_SHIM_H

#define SHIM_LOOKED_UP 2048 /* trampolines for pointers that were looked up */
#if defined(__x86_64__)
#define SHIM_STRIDE 32 /* bytes of one trampoline */
#elif defined(__aarch64__)
#define SHIM_STRIDE 64
#else
#error "the shim knows x86-64 and aarch64 only"
#endif

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

enum call_class { DEVICE, MODULE, MEMORY, COPY, LAUNCH, GRAPH, WAIT, STREAM, ERROR, CLASSES };
enum device_source { ARG0, ARG1, ARG2, ARG3, ARG4, CURRENT, ALL, COUNT, TAKE, PEEK };

struct entry {
    const char *name;
    uint8_t class;
    uint8_t device;
    bool is_runtime; /* cudaX rather than cuX */
};

enum {
#define CALL(name, class, device) ENTRY_##name,
#include "entries.def"
#undef CALL
    ENTRIES
};

extern const struct entry shim_entries[ENTRIES];

/* entries.c: the entry of a symbol, also of a later version of it (`cuX_v7`, `cuX_ptsz`); -1 when there is none. */
int entry_find(const char *name);

/* elf.c: symbols of loaded objects, without the dynamic linker's own lookup, which this library replaces.
 * `symbol_after` gives the first definition in load order, after the object that holds `after` if that is given; copies
 * of this library are passed over. */
void elf_start(void);
struct dl_phdr_info;
extern int (*shim_iterate)(int (*)(struct dl_phdr_info *, size_t, void *), void *); /* dl_iterate_phdr(3) */
void *symbol_after(const char *name, const void *after);
bool address_is_loaded(const void *address);
bool another_shim_is_before_us(void);

/* hooks.c: which trampoline stands for which real function. */
void shim_start(void);
bool slot_resolve(uint32_t slot); /* false: nobody else defines this symbol */
uint32_t slot_entry(uint32_t slot);
void *slot_real(uint32_t slot);
void hooks_forget(void); /* in a forked child */

/* decide.c */
enum { MAX_RULES = 16, MAX_GPUS = 64, ALL_GPUS = -1, GPU_BY_UUID = -2 };

struct rule {
    int gpu;
    uint8_t uuid[16];
    uint32_t error;      /* what calls return */
    uint32_t init_error; /* what initialising, enumerating and making contexts returns; 0: they go on */
    bool no_devices;     /* the device count is 0 */
    bool is_sticky;      /* once one call on a GPU has failed, all of its calls do */
    bool is_lasting;     /* … and go on failing when the toggle is off, until the process ends */
    uint32_t classes;    /* bit mask */
    uint64_t after;      /* calls that go on first */
    uint64_t delay_ns;
    double probability;
    uint64_t seed;
};

struct page { /* what the toggle file says */
    bool is_on;
    bool releases; /* processes with a lasting error are healed */
    uint64_t generation;
    int rule_count;
    struct rule rules[MAX_RULES];
};

void rules_apply(const struct page *page);
bool rules_settle(void);  /* false: something will change without an event, so call again soon */
void rules_forget(void);  /* in a forked child */

/* page.c: reads the text of a toggle file. Returns NULL, or what is wrong with it. */
const char *page_parse(const char *text, size_t size, struct page *page);
const char *page_from_environment(struct page *page);
extern const char page_is_torn[];

/* toggle.c */
void toggle_arm(void);        /* once a process, at its first CUDA call */
void toggle_look(void);       /* read the file again, if nobody else does */
bool toggle_polls(void);      /* whether nobody else does */

/* counters.c */
struct counters {
    char magic[8];
    uint32_t pid;
    uint32_t is_on;
    uint64_t started; /* clock ticks since boot, as /proc/PID/stat has it */
    uint64_t generation;
    uint64_t armed_ns, read_ns, first_failed_ns, last_failed_ns; /* CLOCK_MONOTONIC */
    uint64_t unhooked; /* pointers that were given out without a trampoline: the table was full */
    uint64_t seen[CLASSES], failed[CLASSES]; /* calls while the toggle is on */
    uint64_t failed_on_gpu[MAX_GPUS + 1];    /* the last one: calls that belong to no GPU */
};
extern struct counters counters; /* written with SET, since the watcher reads it at any time */
#define GET(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define SET(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELAXED)
void counters_open(const char *directory);
void counters_count(int class, int gpu, bool has_failed);
void counters_write(void);
void counters_forget(void);

/* shared */
extern unsigned char shim_hot; /* 0: trampolines jump at once */
extern bool shim_is_passive;
uint64_t now_ns(void);
void say_once(int reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum { SAID_TWICE, SAID_FILE, SAID_PAGE, SAID_ENVIRONMENT, SAID_FULL, SAID_WATCHER, SAID_COUNTERS, SAID_MISSING };

struct frame { /* what a trampoline saves; the order is known to trampolines.S */
    uint64_t argument[8];
    void *real;
    uint64_t spare;
};
#endif
#endif
