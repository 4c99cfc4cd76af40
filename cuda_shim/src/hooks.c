/* Where CUDA's functions are looked up, and which trampoline is given out for which of them. */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>

#include "shim.h"

#ifndef RTLD_NEXT
#define RTLD_NEXT ((void *)-1L)
#endif
enum { SUCCESS = 0, NOT_FOUND = 500, PER_THREAD_STREAM = 2 };

extern const char shim_trampolines[];
extern void *shim_reals[ENTRIES + SHIM_LOOKED_UP];

typedef int (*get_proc_address)(const char *, void **, int, uint64_t, void *);
typedef void *(*dlsym_function)(void *, const char *);
typedef void *(*dlvsym_function)(void *, const char *, const char *);

/* Read by trampolines.S */
unsigned char shim_hot = 1; /* until toggle_arm has looked */
unsigned char shim_has_avx;
dlsym_function shim_real_dlsym;
dlvsym_function shim_real_dlvsym;

bool shim_is_passive;
static bool is_started;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint16_t entry_of[SHIM_LOOKED_UP];
static uint32_t given_out;

__attribute__((constructor)) static void load(void) { shim_start(); }

/* May run before the constructor, when another library's constructor looks something up. */
void shim_start(void) {
    if (is_started)
        return;
#if defined(__x86_64__)
    __builtin_cpu_init();
    shim_has_avx = __builtin_cpu_supports("avx") != 0;
#endif
    elf_start();
    shim_real_dlsym = (dlsym_function)symbol_after("dlsym", shim_trampolines);
    shim_real_dlvsym = (dlvsym_function)symbol_after("dlvsym", shim_trampolines);
    if (another_shim_is_before_us()) {
        shim_is_passive = true;
        say_once(SAID_TWICE, "loaded twice; this copy does nothing");
    }
    if (getauxval(AT_SECURE))
        shim_is_passive = true;
    if (shim_is_passive)
        shim_hot = 0;
    is_started = true;
}

/* Slots */

static const char *trampoline(uint32_t slot) { return shim_trampolines + (size_t)slot * SHIM_STRIDE; }

static bool is_trampoline(const void *address) {
    const char *code = address;
    return code >= shim_trampolines && code < trampoline(ENTRIES + SHIM_LOOKED_UP);
}

uint32_t slot_entry(uint32_t slot) { return slot < ENTRIES ? slot : entry_of[slot - ENTRIES]; }

void *slot_real(uint32_t slot) { return __atomic_load_n(&shim_reals[slot], __ATOMIC_ACQUIRE); }

bool slot_resolve(uint32_t slot) {
    if (!is_trampoline(slot_real(slot)))
        return true;
    void *real = symbol_after(shim_entries[slot].name, shim_trampolines); /* only exported symbols start unresolved */
    if (real == NULL)
        return false;
    __atomic_store_n(&shim_reals[slot], real, __ATOMIC_RELEASE);
    return true;
}

/* A driver whose own references are bound to our symbols gives out our trampolines. It may have been closed and opened
 * again since their functions were found. */
static void refresh(const void *address) {
    uint32_t slot = (uint32_t)(((const char *)address - shim_trampolines) / SHIM_STRIDE);
    if (address == NULL || slot >= ENTRIES || address_is_loaded(slot_real(slot)))
        return;
    void *real = symbol_after(shim_entries[slot].name, shim_trampolines);
    if (real != NULL)
        __atomic_store_n(&shim_reals[slot], real, __ATOMIC_RELEASE);
}

/* The trampoline for `real`, which was looked up as `entry`. One function may be known under several names, and one name
 * may stand for several functions (versions, per-thread streams, a driver that was closed and opened again). */
static void *hook(int entry, void *real) {
    if (real == NULL || is_trampoline(real)) {
        refresh(real);
        return real;
    }
    if (slot_real(entry) == real)
        return (void *)trampoline(entry);
    pthread_mutex_lock(&lock);
    uint32_t chosen = given_out;
    for (uint32_t i = 0; i < given_out; i++)
        if (entry_of[i] == entry && slot_real(ENTRIES + i) == real) {
            chosen = i;
            goto found;
        }
    for (uint32_t i = 0; i < given_out; i++)
        if (entry_of[i] == entry && !address_is_loaded(slot_real(ENTRIES + i))) {
            chosen = i;
            break;
        }
    if (chosen < SHIM_LOOKED_UP) {
        entry_of[chosen] = entry;
        __atomic_store_n(&shim_reals[ENTRIES + chosen], real, __ATOMIC_RELEASE);
        if (chosen == given_out)
            __atomic_store_n(&given_out, chosen + 1, __ATOMIC_RELEASE);
    } else {
        counters.unhooked++;
        say_once(SAID_FULL, "all %d trampolines are given out; further pointers are not hooked", SHIM_LOOKED_UP);
    }
found:
    pthread_mutex_unlock(&lock);
    return chosen < SHIM_LOOKED_UP ? (void *)trampoline(ENTRIES + chosen) : real;
}

void hooks_forget(void) { pthread_mutex_init(&lock, NULL); }

/* cuGetProcAddress: wrapped rather than jumped through, since its result is to be replaced. Its first form has four
 * arguments, the later ones five; a fifth one does no harm to the first. */

static const char *const proc_names[] = {"cuGetProcAddress", "cuGetProcAddress_v2", "cuGetProcAddress_v2_ptsz"};
enum { FIRST, SECOND, SECOND_PER_THREAD, FORMS };
static get_proc_address real_proc[FORMS];

EXPORT int cuGetProcAddress(const char *, void **, int, uint64_t, void *);
EXPORT int cuGetProcAddress_v2(const char *, void **, int, uint64_t, void *);
EXPORT int cuGetProcAddress_v2_ptsz(const char *, void **, int, uint64_t, void *);

static void *hook_proc(int form, void *real) {
    static const get_proc_address ours[FORMS] = {cuGetProcAddress, cuGetProcAddress_v2, cuGetProcAddress_v2_ptsz};
    if (real == NULL)
        return NULL;
    for (int i = 0; i < FORMS; i++)
        if (real == (void *)ours[i])
            return real;
    __atomic_store_n(&real_proc[form], (get_proc_address)real, __ATOMIC_RELEASE);
    return (void *)ours[form];
}

static int proc_form(const char *name) {
    for (int i = 0; i < FORMS; i++)
        if (strcmp(name, proc_names[i]) == 0)
            return i;
    return -1;
}

static int look_up(int form, const char *name, void **function, int version, uint64_t flags, void *status) {
    shim_start();
    get_proc_address real = __atomic_load_n(&real_proc[form], __ATOMIC_ACQUIRE);
    if (real == NULL)
        real = real_proc[form] = (get_proc_address)symbol_after(proc_names[form], shim_trampolines);
    if (real == NULL)
        return NOT_FOUND;
    int result = real(name, function, version, flags, status);
    if (result != SUCCESS || name == NULL || function == NULL || *function == NULL || shim_is_passive)
        return result;
    int asked = proc_form(name), entry = entry_find(name);
    if (asked == FIRST && version >= 12000)
        asked = flags & PER_THREAD_STREAM ? SECOND_PER_THREAD : SECOND;
    if (asked >= 0)
        *function = hook_proc(asked, *function);
    else if (entry >= 0)
        *function = hook(entry, *function);
    return result;
}

EXPORT int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags, void *status) {
    return look_up(FIRST, name, function, version, flags, status);
}

EXPORT int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, void *status) {
    return look_up(SECOND, name, function, version, flags, status);
}

EXPORT int cuGetProcAddress_v2_ptsz(const char *name, void **function, int version, uint64_t flags, void *status) {
    return look_up(SECOND_PER_THREAD, name, function, version, flags, status);
}

/* dlsym and dlvsym, called by their assembly halves */

struct looked_up {
    void *function;
    uintptr_t is_answered; /* 0: go on to the real one */
};

static bool is_ours(const void *function) {
    return is_trampoline(function) || function == (void *)cuGetProcAddress || function == (void *)cuGetProcAddress_v2 ||
           function == (void *)cuGetProcAddress_v2_ptsz;
}

/* RTLD_NEXT and RTLD_DEFAULT are looked up here, as for their caller. RTLD_DEFAULT may thereby find what a library
 * opened with RTLD_LOCAL defines. */
static void *find_function(void *handle, const char *name, const char *version, const void *caller) {
    void *found = NULL;
    if (handle != RTLD_NEXT && handle != RTLD_DEFAULT) {
        found = version ? shim_real_dlvsym(handle, name, version) : shim_real_dlsym(handle, name);
        if (!is_ours(found))
            return found;
    }
    return symbol_after(name, handle == RTLD_NEXT && address_is_loaded(caller) ? caller : NULL);
}

static struct looked_up answer(void *handle, const char *name, const char *version, const void *caller) {
    struct looked_up none = {NULL, 0};
    shim_start();
    if (shim_is_passive || name == NULL || name[0] != 'c' || name[1] != 'u')
        return none;
    int form = proc_form(name), entry = entry_find(name);
    if (form < 0 && entry < 0)
        return none;
    void *real = find_function(handle, name, version, caller);
    if (real == NULL) { /* have the real one leave its message for dlerror; RTLD_NEXT, as it must not find us */
        if (handle == RTLD_DEFAULT)
            handle = RTLD_NEXT;
        void *missing = version ? shim_real_dlvsym(handle, name, version) : shim_real_dlsym(handle, name);
        return (struct looked_up){is_ours(missing) ? NULL : missing, 1};
    }
    return (struct looked_up){form >= 0 ? hook_proc(form, real) : hook(entry, real), 1};
}

struct looked_up shim_dlsym(void *handle, const char *name, const void *caller) {
    return answer(handle, name, NULL, caller);
}

struct looked_up shim_dlvsym(void *handle, const char *name, const char *version, const void *caller) {
    return answer(handle, name, version, caller);
}
