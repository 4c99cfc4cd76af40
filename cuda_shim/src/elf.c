/* Symbols of loaded objects, read from their own tables.
 *
 * dlsym cannot be used for this: RTLD_NEXT is resolved for whoever calls it, and this library is its own dlsym.
 * dl_iterate_phdr(3) takes one short lock that is never held while constructors run, so it is safe wherever a
 * CUDA call is.
 */
#include <elf.h>
#include <link.h>

#include "shim.h"

/* By this symbol a copy of this library knows another. */
EXPORT const char dynamo_fault_cuda_shim[] = "1";

struct tables {
    const ElfW(Sym) * symbols;
    const char *names;
    const uint32_t *gnu_hash;
    const uint32_t *hash;
};

static bool read_tables(ElfW(Addr) base, const ElfW(Dyn) * dynamic, struct tables *tables) {
    *tables = (struct tables){NULL, NULL, NULL, NULL};
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        ElfW(Addr) address = dynamic->d_un.d_ptr; /* relocated in place, but for the vdso's */
        const void *value = (const void *)(address < base ? base + address : address);
        if (dynamic->d_tag == DT_SYMTAB)
            tables->symbols = value;
        else if (dynamic->d_tag == DT_STRTAB)
            tables->names = value;
        else if (dynamic->d_tag == DT_GNU_HASH)
            tables->gnu_hash = value;
        else if (dynamic->d_tag == DT_HASH)
            tables->hash = value;
    }
    return tables->symbols && tables->names && (tables->gnu_hash || tables->hash);
}

/* Not strcmp: under a sanitizer a call into the C library may start that one, which would look symbols up again. */
static bool is_same(const char *one, const char *other) {
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

static bool defines(const struct tables *tables, uint32_t index, const char *name) {
    const ElfW(Sym) *symbol = &tables->symbols[index];
    int type = symbol->st_info & 0xf;
    return symbol->st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_OBJECT) &&
           is_same(tables->names + symbol->st_name, name);
}

static uint32_t find_by_gnu_hash(const struct tables *tables, const char *name) {
    const uint32_t *header = tables->gnu_hash;
    uint32_t bucket_count = header[0], first = header[1], bloom_size = header[2];
    const uint32_t *buckets = (const uint32_t *)((const ElfW(Addr) *)(header + 4) + bloom_size);
    const uint32_t *chain = buckets + bucket_count;
    uint32_t hash = 5381;
    for (const char *c = name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    uint32_t index = bucket_count ? buckets[hash % bucket_count] : 0;
    if (index < first)
        return 0;
    for (;; index++) {
        uint32_t other = chain[index - first];
        if ((other | 1) == (hash | 1) && defines(tables, index, name))
            return index;
        if (other & 1)
            return 0;
    }
}

static uint32_t find_by_hash(const struct tables *tables, const char *name) {
    uint32_t count = tables->hash[1];
    for (uint32_t index = 1; index < count; index++)
        if (defines(tables, index, name))
            return index;
    return 0;
}

static void *find_by_tables(ElfW(Addr) base, const ElfW(Dyn) * dynamic, const char *name) {
    struct tables tables;
    if (!read_tables(base, dynamic, &tables))
        return NULL;
    uint32_t index = tables.gnu_hash ? find_by_gnu_hash(&tables, name) : find_by_hash(&tables, name);
    return index ? (void *)(base + tables.symbols[index].st_value) : NULL;
}

static void *find_in(const struct dl_phdr_info *object, const char *name) {
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC)
            return find_by_tables(object->dlpi_addr, (const void *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr), name);
    return NULL;
}

/* The C library's own dl_iterate_phdr. Sanitizers put another in front of it, and look the real one up by dlsym, which
 * is this library: so that one cannot be used to find it. Runs once, before the program has threads. */
int (*shim_iterate)(int (*)(struct dl_phdr_info *, size_t, void *), void *);

void elf_start(void) {
    shim_iterate = dl_iterate_phdr;
    for (const struct link_map *object = _r_debug.r_map; object != NULL; object = object->l_next) {
        void *found = find_by_tables(object->l_addr, object->l_ld, "dl_iterate_phdr");
        if (found != NULL && find_by_tables(object->l_addr, object->l_ld, "__libc_start_main") != NULL)
            shim_iterate = (int (*)(int (*)(struct dl_phdr_info *, size_t, void *), void *))found;
    }
}

static bool holds(const struct dl_phdr_info *object, const void *address) {
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (uintptr_t)address >= start && (uintptr_t)address < start + segment->p_memsz)
            return true;
    }
    return false;
}

struct search {
    const char *name;
    const void *after; /* NULL once it was passed */
    void *found;
};

static int visit_symbol(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    struct search *search = data;
    if (search->after != NULL) {
        if (holds(object, search->after))
            search->after = NULL;
        return 0;
    }
    void *found = find_in(object, search->name);
    if (found == NULL || find_in(object, "dynamo_fault_cuda_shim") != NULL)
        return 0;
    search->found = found;
    return 1;
}

void *symbol_after(const char *name, const void *after) {
    struct search search = {name, after, NULL};
    shim_iterate(visit_symbol, &search);
    return search.found;
}

static int visit_address(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    return holds(object, data);
}

bool address_is_loaded(const void *address) {
    return shim_iterate(visit_address, (void *)address) != 0;
}

static int visit_shim(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    if (find_in(object, "dynamo_fault_cuda_shim") == NULL)
        return 0;
    *(bool *)data = !holds(object, &dynamo_fault_cuda_shim);
    return 1;
}

bool another_shim_is_before_us(void) {
    bool found = false;
    shim_iterate(visit_shim, &found);
    return found;
}
