/* The toggle file's text. Its first byte alone decides between on ('1') and off, so that `echo 1 > file` is enough:
 *
 *     1
 *     dynamo-fault-cuda 1
 *     generation 17
 *     rule xid=79 gpu=all classes=launch,copy after=100 delay_ms=0 probability=0.5 seed=1
 *     end
 *
 * A rule's keys have defaults; `error`, `init`, `no_devices`, `sticky` and `recovery` those of its XID. Without a rule
 * all GPUs fail with the XID that the environment names. A page without its `end` was read while it was written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

enum { DEFAULT_XID = 79 };

static const struct {
    unsigned xid;
    uint32_t error, init_error;
    bool no_devices, is_sticky;
} xids[] = {
#define XID(xid, error, init_error, no_devices, is_sticky) {xid, error, init_error, no_devices, is_sticky},
#include "xid_table.h"
#undef XID
};

static const char *const class_names[CLASSES] = {"device", "module", "memory", "copy", "launch",
                                                 "graph",  "wait",   "stream", "error"};

const char page_is_torn[] = "its end is missing";

static const char *apply_xid(struct rule *rule, unsigned long xid) {
    for (size_t i = 0; i < sizeof xids / sizeof *xids; i++)
        if (xids[i].xid == xid) {
            rule->error = xids[i].error;
            rule->init_error = xids[i].init_error;
            rule->no_devices = xids[i].no_devices;
            rule->is_sticky = xids[i].is_sticky;
            return NULL;
        }
    return "unknown XID";
}

static struct rule default_rule(void) {
    return (struct rule){.gpu = ALL_GPUS, .classes = ~0u, .probability = 1.0, .seed = 1};
}

/* "GPU-8a3c…" or bare hexadecimal digits, dashes anywhere */
static bool read_uuid(const char *text, uint8_t uuid[16]) {
    if (strncmp(text, "GPU-", 4) == 0 || strncmp(text, "MIG-", 4) == 0)
        text += 4;
    int digits = 0;
    memset(uuid, 0, 16);
    for (; *text; text++) {
        const char *found = strchr("0123456789abcdefABCDEF", *text);
        if (*text == '-')
            continue;
        if (found == NULL || digits == 32)
            return false;
        long digit = found - "0123456789abcdefABCDEF";
        uuid[digits / 2] |= (uint8_t)((digit > 15 ? digit - 6 : digit) << (digits % 2 ? 0 : 4));
        digits++;
    }
    return digits == 32;
}

static const char *read_gpu(const char *text, struct rule *rule) {
    char *end;
    unsigned long index = strtoul(text, &end, 10);
    if (strcmp(text, "all") == 0)
        rule->gpu = ALL_GPUS;
    else if (*text != '\0' && *end == '\0' && index < MAX_GPUS)
        rule->gpu = (int)index;
    else if (read_uuid(text, rule->uuid))
        rule->gpu = GPU_BY_UUID;
    else
        return "a rule's gpu is neither 'all' nor an index nor a UUID";
    return NULL;
}

static const char *read_classes(char *text, struct rule *rule) {
    char *rest = NULL;
    rule->classes = 0;
    for (char *name = strtok_r(text, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        int class = 0;
        while (class < CLASSES && strcmp(name, class_names[class]) != 0)
            class++;
        if (class == CLASSES)
            return "a rule has an unknown class of calls";
        rule->classes |= 1u << class;
    }
    return NULL;
}

static const char *read_key(const char *key, char *value, struct rule *rule) {
    unsigned long long number = strtoull(value, NULL, 10);
    if (strcmp(key, "xid") == 0)
        return apply_xid(rule, (unsigned long)number);
    if (strcmp(key, "gpu") == 0)
        return read_gpu(value, rule);
    if (strcmp(key, "classes") == 0)
        return read_classes(value, rule);
    if (strcmp(key, "error") == 0)
        rule->error = (uint32_t)number;
    else if (strcmp(key, "init") == 0)
        rule->init_error = (uint32_t)number;
    else if (strcmp(key, "no_devices") == 0)
        rule->no_devices = number != 0;
    else if (strcmp(key, "sticky") == 0)
        rule->is_sticky = number != 0;
    else if (strcmp(key, "recovery") == 0)
        rule->is_lasting = strcmp(value, "exit") == 0;
    else if (strcmp(key, "after") == 0)
        rule->after = number;
    else if (strcmp(key, "delay_ms") == 0)
        rule->delay_ns = number * 1000000;
    else if (strcmp(key, "probability") == 0)
        rule->probability = strtod(value, NULL);
    else if (strcmp(key, "seed") == 0)
        rule->seed = number;
    else
        return "a rule has an unknown key";
    return NULL;
}

static const char *read_rule(char *text, struct rule *rule) {
    char *rest = NULL;
    *rule = default_rule();
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        if (value == NULL)
            return "a rule has a word without '='";
        *value++ = '\0';
        const char *problem = read_key(word, value, rule);
        if (problem != NULL)
            return problem;
    }
    return rule->error ? NULL : "a rule has neither an XID nor an error";
}

static const char *add_default_rule(struct page *page) {
    const char *given = getenv("CUDA_XID_TYPE");
    page->rules[0] = default_rule();
    page->rule_count = 1;
    return apply_xid(&page->rules[0], given && *given ? strtoul(given, NULL, 10) : DEFAULT_XID);
}

const char *page_parse(const char *text, size_t size, struct page *page) {
    char copy[4097];
    memset(page, 0, sizeof *page);
    if (size == 0)
        return NULL;
    if (size > sizeof copy - 1)
        size = sizeof copy - 1;
    memcpy(copy, text, size);
    copy[size] = '\0';
    page->is_on = copy[0] == '1';
    bool has_header = false, has_end = false;
    const char *problem = NULL;
    char *rest = NULL;
    for (char *line = strtok_r(copy + 1, "\n", &rest); line != NULL && !has_end; line = strtok_r(NULL, "\n", &rest)) {
        if (strcmp(line, "dynamo-fault-cuda 1") == 0)
            has_header = true;
        else if (!has_header)
            continue;
        else if (strncmp(line, "generation ", 11) == 0)
            page->generation = strtoull(line + 11, NULL, 10);
        else if (strcmp(line, "release") == 0)
            page->releases = true;
        else if (strcmp(line, "end") == 0)
            has_end = true;
        else if (strncmp(line, "rule ", 5) == 0 && page->rule_count < MAX_RULES && problem == NULL)
            problem = read_rule(line + 5, &page->rules[page->rule_count++]);
    }
    if (has_header && !has_end)
        return page_is_torn;
    if (page->rule_count == 0 && page->is_on)
        problem = add_default_rule(page);
    if (problem != NULL)
        page->is_on = false;
    return problem;
}

const char *page_from_environment(struct page *page) {
    const char *given = getenv("CUDA_FAULT_INJECTION_ENABLED");
    memset(page, 0, sizeof *page);
    page->is_on = given != NULL && (strcmp(given, "1") == 0 || strcmp(given, "true") == 0);
    const char *problem = page->is_on ? add_default_rule(page) : NULL;
    if (problem != NULL)
        page->is_on = false;
    return problem;
}
