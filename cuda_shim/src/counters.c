/* What this process saw while its toggle was on: a small file beside the toggle, which outlives the process.
 *
 * It is written with pwrite, not mapped: a page of a file that is truncated, or that a full disk cannot hold, kills
 * whoever touches it. No descriptor is kept either, since a program may close all it did not open itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"

enum { WRITE_INTERVAL_NS = 1000000 };

struct counters counters = {.magic = "DFCUDA1"};
static char path[4096];
static uint64_t written_ns;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t start_time(void) {
    char text[1024];
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    char *field = strrchr(text, ')'); /* the end of the second field, which may hold anything */
    for (int i = 2; field != NULL && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

void counters_open(const char *directory) {
    counters.pid = (uint32_t)getpid();
    counters.started = start_time();
    counters.armed_ns = now_ns();
    int length = snprintf(path, sizeof path, "%s/%u-%llu", directory, counters.pid, (unsigned long long)counters.started);
    if (access(directory, F_OK) != 0 || length >= (int)sizeof path) { /* nobody wants to know */
        path[0] = '\0';
        return;
    }
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || pwrite(file, &counters, sizeof counters, 0) != (ssize_t)sizeof counters) {
        say_once(SAID_COUNTERS, "no counters at %s: %s", path, strerror(errno));
        if (file >= 0)
            unlink(path);
        path[0] = '\0';
    }
    if (file >= 0)
        close(file);
}

void counters_write(void) {
    uint64_t copy[sizeof counters / 8];
    if (path[0] == '\0' || pthread_mutex_trylock(&lock) != 0)
        return;
    for (size_t i = 0; i < sizeof copy / 8; i++)
        copy[i] = GET(((uint64_t *)&counters)[i]);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        ssize_t ignored = pwrite(file, copy, sizeof copy, 0);
        (void)ignored;
        close(file);
    }
    SET(written_ns, now_ns());
    pthread_mutex_unlock(&lock);
}

static void add(uint64_t *counter) { __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

void counters_count(int class, int gpu, bool has_failed) {
    add(&counters.seen[class]);
    if (!has_failed)
        return;
    uint64_t now = now_ns();
    bool is_first = GET(counters.first_failed_ns) == 0;
    if (is_first)
        SET(counters.first_failed_ns, now);
    SET(counters.last_failed_ns, now);
    add(&counters.failed[class]);
    add(&counters.failed_on_gpu[gpu >= 0 && gpu < MAX_GPUS ? gpu : MAX_GPUS]);
    if (is_first || now - GET(written_ns) > WRITE_INTERVAL_NS) /* the next failure may end the process */
        counters_write();
}

void counters_forget(void) {
    pthread_mutex_init(&lock, NULL);
    memset(&counters, 0, sizeof counters);
    memcpy(counters.magic, "DFCUDA1", 8);
    path[0] = '\0';
}

__attribute__((destructor)) static void leave(void) {
    if (counters.armed_ns != 0)
        counters_write();
}
