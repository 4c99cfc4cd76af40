/* The list of entry points, and how a symbol finds its entry. */
#include <string.h>

#include "shim.h"

const struct entry shim_entries[ENTRIES] = {
#define CALL(name, class, device) {#name, class, device, sizeof #name > 5 && #name[2] == 'd' && #name[3] == 'a'},
#include "entries.def"
#undef CALL
};

static int exactly(const char *name) {
    int low = 0, high = ENTRIES - 1;
    while (low <= high) {
        int middle = (low + high) / 2;
        int order = strcmp(name, shim_entries[middle].name);
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle - 1;
        else
            low = middle + 1;
    }
    return -1;
}

static bool drop_suffix(char *name) {
    char *tail = strrchr(name, '_');
    if (tail == NULL)
        return false;
    bool is_stream = strcmp(tail, "_ptsz") == 0 || strcmp(tail, "_ptds") == 0;
    bool is_version = tail[1] == 'v' && tail[2] >= '0' && tail[2] <= '9';
    *tail = '\0';
    return is_stream || is_version;
}

int entry_find(const char *name) {
    char base[128];
    int found = exactly(name);
    if (found >= 0 || strlen(name) >= sizeof base)
        return found;
    strcpy(base, name);
    while (found < 0 && drop_suffix(base))
        found = exactly(base);
    return found;
}
