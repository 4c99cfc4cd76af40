/* What becomes of one call while the toggle is on. */
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <string.h>

#include "shim.h"

#define FAIL (1ull << 32) /* trampolines.S: return the low half instead of going on */
enum { GO_ON = 0, NO_GPU = -1, NOT_FOUND = 500, LAST_ERROR_GRACE_NS = 100000000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct page now;
static uint64_t on_since, off_since;
static uint64_t matched[MAX_RULES];
static struct {
    uint32_t error;
    bool is_lasting;
} stuck[MAX_GPUS + 1]; /* sticky errors, the last one: of calls without a GPU */
static int stuck_count;
static int threads_with_error;

/* The runtime keeps an error for each thread, which cudaGetLastError fetches. A call that failed here never reached it. */
static _Thread_local uint32_t last_error __attribute__((tls_model("initial-exec")));
static _Thread_local bool is_inside __attribute__((tls_model("initial-exec")));

/* The rules */

static void set_hot(void) {
    bool waits = threads_with_error > 0 && now_ns() - off_since < LAST_ERROR_GRACE_NS;
    __atomic_store_n(&shim_hot, now.is_on || stuck_count > 0 || waits || toggle_polls(), __ATOMIC_RELEASE);
}

void rules_apply(const struct page *page) {
    pthread_mutex_lock(&lock);
    bool starts = page->is_on && (!now.is_on || memcmp(page->rules, now.rules, sizeof now.rules) != 0);
    bool stops = !page->is_on && now.is_on;
    now = *page;
    if (starts) {
        memset(matched, 0, sizeof matched);
        on_since = now_ns();
    }
    if (stops)
        off_since = now_ns();
    stuck_count = 0;
    for (int i = 0; i <= MAX_GPUS; i++) {
        if (page->releases || ((starts || !page->is_on) && !stuck[i].is_lasting))
            stuck[i].error = 0;
        stuck_count += stuck[i].error != 0;
    }
    SET(counters.is_on, page->is_on);
    SET(counters.generation, page->generation);
    set_hot();
    pthread_mutex_unlock(&lock);
}

bool rules_settle(void) {
    pthread_mutex_lock(&lock);
    set_hot();
    bool is_settled = now.is_on || shim_hot == 0 || stuck_count > 0 || toggle_polls();
    pthread_mutex_unlock(&lock);
    return is_settled;
}

void rules_forget(void) {
    pthread_mutex_init(&lock, NULL);
    threads_with_error = last_error != 0;
    is_inside = false;
}

/* The GPU of a call */

static unsigned long long unloads;
static int (*get_device)(int *);
static int (*get_uuid)(void *, int);

static int visit_unloads(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    *(unsigned long long *)data = object->dlpi_subs;
    return 1;
}

static void find_driver(void) {
    unsigned long long count = 0;
    shim_iterate(visit_unloads, &count);
    if (get_device != NULL && count == unloads)
        return;
    unloads = count;
    get_device = (int (*)(int *))symbol_after("cuCtxGetDevice", NULL);
    get_uuid = (int (*)(void *, int))symbol_after("cuDeviceGetUuid_v2", NULL);
    if (get_uuid == NULL)
        get_uuid = (int (*)(void *, int))symbol_after("cuDeviceGetUuid", NULL);
}

static int gpu_of(const struct entry *entry, const struct frame *frame) {
    if (entry->device <= ARG4)
        return (int)frame->argument[entry->device];
    int device = NO_GPU;
    if (entry->device == ALL || entry->device == COUNT || get_device == NULL || get_device(&device) != 0)
        return NO_GPU;
    return device;
}

static bool is_about(const struct rule *rule, int gpu) {
    uint8_t uuid[16];
    if (rule->gpu == ALL_GPUS || gpu == NO_GPU)
        return rule->gpu == ALL_GPUS;
    if (rule->gpu != GPU_BY_UUID)
        return rule->gpu == gpu;
    return get_uuid != NULL && get_uuid(uuid, gpu) == 0 && memcmp(uuid, rule->uuid, 16) == 0;
}

static const struct rule *rule_about(int gpu, int *index) {
    for (*index = 0; *index < now.rule_count; ++*index)
        if (is_about(&now.rules[*index], gpu))
            return &now.rules[*index];
    return NULL;
}

/* The decision */

/* The n-th number of a sequence that `seed` determines, in [0, 1): splitmix64. */
static double draw(uint64_t seed, uint64_t n) {
    uint64_t z = seed + n * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Whether chance and counting let this call fail. Most calls of the runtime end in calls of the driver: only those count
 * and draw, lest one call of the program has two chances. */
static bool is_hit(const struct rule *rule, int index, bool is_runtime) {
    if (is_runtime)
        return rule->probability >= 1 && matched[index] >= rule->after;
    uint64_t number = matched[index]++;
    return number >= rule->after && draw(rule->seed, number) < rule->probability;
}

static uint64_t fail(const struct entry *entry, uint32_t error) {
    if (entry->is_runtime && error != 0) {
        threads_with_error += last_error == 0;
        last_error = error;
    }
    return FAIL | error;
}

static uint64_t fetch_last_error(const struct entry *entry, uint32_t sticky) {
    uint32_t error = sticky ? sticky : last_error;
    if (entry->device == TAKE && last_error != 0) {
        last_error = 0;
        threads_with_error--;
    }
    return error ? FAIL | error : GO_ON;
}

static uint64_t decide(const struct entry *entry, const struct frame *frame, int gpu) {
    int index, place = gpu >= 0 && gpu < MAX_GPUS ? gpu : MAX_GPUS;
    uint32_t sticky = stuck[place].error;
    if (entry->class == ERROR)
        return fetch_last_error(entry, sticky);
    const struct rule *rule = now.is_on ? rule_about(gpu, &index) : NULL;
    if (entry->device == COUNT) {
        if (rule == NULL || !rule->no_devices)
            return GO_ON;
        if (frame->argument[0] != 0)
            *(int *)frame->argument[0] = 0;
        return fail(entry, entry->is_runtime ? rule->init_error : 0);
    }
    if (sticky != 0 && !(entry->class == DEVICE && rule != NULL && rule->init_error != 0))
        return fail(entry, sticky);
    if (rule == NULL || !(rule->classes & 1u << entry->class) || now_ns() - on_since < rule->delay_ns)
        return GO_ON;
    uint32_t error = entry->class == DEVICE ? rule->init_error : rule->error;
    if (error == 0 || !is_hit(rule, index, entry->is_runtime))
        return GO_ON;
    if (rule->is_sticky && entry->class != DEVICE) {
        stuck[place].error = error;
        stuck[place].is_lasting = rule->is_lasting;
        stuck_count++;
    }
    return fail(entry, error);
}

/* Called by a trampoline that finds shim_hot set, or that has no function to jump to yet. */
uint64_t shim_decide(uint32_t slot, struct frame *frame) {
    const struct entry *entry = &shim_entries[slot_entry(slot)];
    if (!slot_resolve(slot)) {
        say_once(SAID_MISSING, "%s was called, but no library in this process defines it", entry->name);
        return FAIL | NOT_FOUND;
    }
    frame->real = slot_real(slot);
    if (shim_is_passive || is_inside)
        return GO_ON;
    int saved = errno;
    is_inside = true;
    toggle_arm();
    toggle_look();
    uint64_t decision = GO_ON;
    if (__atomic_load_n(&shim_hot, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&lock);
        find_driver();
        int gpu = gpu_of(entry, frame);
        decision = decide(entry, frame, gpu);
        bool is_on = now.is_on || stuck_count > 0;
        pthread_mutex_unlock(&lock);
        if (is_on && entry->class != ERROR)
            counters_count(entry->class, gpu, decision != GO_ON);
        if (entry->device == TAKE && decision != GO_ON)
            ((int (*)(void))frame->real)(); /* it may keep the same error, of a call that failed in the driver */
    }
    is_inside = false;
    errno = saved;
    return decision;
}
