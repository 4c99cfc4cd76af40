/* The toggle file: where it is, and how a running process learns that it has changed.
 *
 * A process that maps a file dies when the file is truncated under it, which `echo 1 > file` does. So the file is read, by
 * a thread that sleeps in inotify, and what trampolines test is a byte of this process. The thread starts with the
 * first CUDA call: a shell or a tool that is merely preloaded never has it. It has a descriptor table of its own, so a
 * program that closes all descriptors does not close its, and none is inherited.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define UNSHARE 2u /* CLOSE_RANGE_UNSHARE */

enum {
    TICK_MS = 100,         /* looks that need no event: a file system may send none */
    SOON_MS = 10,          /* the same, while something is to settle or a directory is missing */
    WITHOUT_EVENTS_MS = 1, /* the same, where inotify is not to be had */
    LOOK_INTERVAL_NS = 500000,
    STACK_SIZE = 512 * 1024,
    PAGE_SIZE = 4096,
};

#ifndef HOST_DIRECTORY
#define HOST_DIRECTORY "/host-fault"
#define OWN_DIRECTORY "/tmp"
#endif
static const char *const usual_paths[] = {HOST_DIRECTORY "/cuda_fault_enabled", OWN_DIRECTORY "/cuda_fault_enabled", NULL};
static const char *own_paths[2];
static const char *const *paths = usual_paths;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_armed, has_fork_handler, polls;
static uint64_t looked_ns;
static char last_text[PAGE_SIZE];
static ssize_t last_size = -2;
static int shared_descriptor = -1; /* where the thread's table could not be made its own */
static _Thread_local bool is_watcher __attribute__((tls_model("initial-exec")));

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void say_once(int reason, const char *format, ...) {
    static unsigned said;
    if (__atomic_fetch_or(&said, 1u << reason, __ATOMIC_RELAXED) & 1u << reason)
        return;
    char text[512];
    int start = snprintf(text, sizeof text, "dynamo-fault cuda shim: ");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + start, sizeof text - (size_t)start - 1, format, arguments);
    va_end(arguments);
    strcat(text, "\n");
    int file = is_watcher ? open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_CLOEXEC) : STDERR_FILENO;
    ssize_t ignored = write(file, text, strlen(text));
    (void)ignored;
    if (is_watcher && file >= 0)
        close(file);
}

bool toggle_polls(void) { return polls; }

/* Reading */

/* The text of the first file that can be opened; -1 when there is none. */
static ssize_t read_file(char *text, const char **path) {
    for (int i = 0; paths[i] != NULL; i++) {
        *path = paths[i];
        int file = open(paths[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (file < 0) {
            if (errno != ENOENT && errno != ENOTDIR)
                say_once(SAID_FILE, "%s is passed over: %s", paths[i], strerror(errno));
            continue;
        }
        struct stat status;
        ssize_t size = -1;
        if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
            say_once(SAID_FILE, "%s is passed over: it is no file", paths[i]);
        else if (status.st_uid != 0 && status.st_uid != geteuid())
            say_once(SAID_FILE, "%s is passed over: it belongs to user %u, neither root nor this process' user", paths[i],
                     (unsigned)status.st_uid);
        else
            size = pread(file, text, PAGE_SIZE, 0);
        close(file);
        if (size >= 0)
            return size;
    }
    *path = NULL;
    return -1;
}

static void look(void) {
    char text[PAGE_SIZE];
    const char *path, *problem = NULL;
    struct page page;
    ssize_t size = read_file(text, &path);
    if (size == last_size && (size <= 0 || memcmp(text, last_text, (size_t)size) == 0))
        return;
    for (int tries = 0; tries < 5; tries++) { /* it may be empty or torn because it is being written */
        problem = size >= 0 ? page_parse(text, (size_t)size, &page) : page_from_environment(&page);
        if (size != 0 && problem != page_is_torn)
            break;
        nanosleep(&(struct timespec){0, 100000}, NULL);
        size = read_file(text, &path);
    }
    if (problem == page_is_torn)
        return; /* whoever writes it has not finished, and there will be an event when he has */
    if (problem != NULL)
        say_once(path ? SAID_PAGE : SAID_ENVIRONMENT, "no fault is injected, since %s is wrong: %s",
                 path ? path : "CUDA_XID_TYPE", problem);
    memcpy(last_text, text, size > 0 ? (size_t)size : 0);
    last_size = size;
    SET(counters.read_ns, now_ns());
    rules_apply(&page);
    counters_write();
}

void toggle_look(void) {
    if (!polls || now_ns() - looked_ns < LOOK_INTERVAL_NS || pthread_mutex_trylock(&lock) != 0)
        return;
    looked_ns = now_ns();
    look();
    rules_settle();
    pthread_mutex_unlock(&lock);
}

/* Watching */

static const char *file_name(const char *path) { return strrchr(path, '/') + 1; }

/* Watch each file and its directory, also again after they came and went. Returns whether one directory is there. */
static bool add_watches(int events) {
    bool has_any = false;
    for (int i = 0; paths[i] != NULL; i++) {
        char directory[PATH_MAX];
        size_t length = (size_t)(file_name(paths[i]) - paths[i]);
        if (length >= sizeof directory)
            continue;
        memcpy(directory, paths[i], length);
        directory[length] = '\0';
        uint32_t entries = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR;
        has_any |= inotify_add_watch(events, directory, entries) >= 0;
        inotify_add_watch(events, paths[i], IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
    }
    return has_any;
}

/* An event on one of the files, or of one of their names in its directory. */
static bool concerns_us(const struct inotify_event *event) {
    if (event->len == 0)
        return true;
    for (int i = 0; paths[i] != NULL; i++)
        if (strcmp(event->name, file_name(paths[i])) == 0)
            return true;
    return false;
}

static bool drain(int events) {
    union {
        char bytes[8192];
        struct inotify_event alignment;
    } buffer;
    bool found = false;
    ssize_t size;
    while ((size = read(events, buffer.bytes, sizeof buffer.bytes)) > 0)
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const void *)(buffer.bytes + at);
            found |= concerns_us(event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    return found;
}

static bool is_still_inotify(int descriptor) {
    char link[64], target[64] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    return readlink(link, target, sizeof target - 1) > 0 && strcmp(target, "anon_inode:inotify") == 0;
}

static void *watch(void *unused) {
    (void)unused;
    is_watcher = true;
    bool has_own_table = syscall(SYS_close_range, 0u, ~0u, UNSHARE) == 0;
    int events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (!has_own_table)
        shared_descriptor = events;
    bool is_due = true;
    for (;;) {
        bool has_watches = events >= 0 && (!is_due || add_watches(events));
        if (is_due) {
            pthread_mutex_lock(&lock);
            look();
            pthread_mutex_unlock(&lock);
        }
        bool is_settled = rules_settle();
        struct pollfd descriptor = {.fd = events, .events = POLLIN};
        int timeout = events < 0 ? WITHOUT_EVENTS_MS : has_watches && is_settled ? TICK_MS : SOON_MS;
        int ready = poll(&descriptor, events >= 0, timeout);
        is_due = ready <= 0;
        if (ready > 0 && !has_own_table && !is_still_inotify(events)) { /* the program has closed it */
            shared_descriptor = events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
            is_due = true;
        } else if (ready > 0) {
            is_due = drain(events);
        } else {
            counters_write();
        }
    }
    return NULL;
}

/* Arming */

static void forget(void) { /* in a forked child, which has no watcher */
    if (shared_descriptor >= 0)
        close(shared_descriptor);
    shared_descriptor = -1;
    pthread_mutex_init(&lock, NULL);
    hooks_forget();
    rules_forget();
    counters_forget();
    polls = is_armed = false;
    last_size = -2;
    shim_hot = 1;
}

static bool start_watcher(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's signals are not for this thread */
    int error = pthread_create(&thread, &attributes, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        say_once(SAID_WATCHER, "no thread to watch the toggle (%s); each CUDA call looks", strerror(error));
    return error == 0;
}

static void open_counters(void) {
    char directory[PATH_MAX];
    for (int i = 0; paths[i] != NULL; i++) {
        snprintf(directory, sizeof directory, "%s.d", paths[i]);
        if (access(directory, F_OK) == 0)
            break;
    }
    counters_open(directory);
}

void toggle_arm(void) {
    if (__atomic_load_n(&is_armed, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&lock);
    if (!is_armed) {
        const char *own = getenv("DYNAMO_FAULT_CUDA_FILE");
        if (own != NULL && own[0] == '/') {
            own_paths[0] = own;
            paths = own_paths;
        } else if (own != NULL && own[0] != '\0') {
            say_once(SAID_ENVIRONMENT, "DYNAMO_FAULT_CUDA_FILE is not an absolute path: %s", own);
        }
        if (!has_fork_handler)
            has_fork_handler = pthread_atfork(NULL, NULL, forget) == 0;
        open_counters();
        look();
        polls = !start_watcher();
        rules_settle();
        __atomic_store_n(&is_armed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
}
