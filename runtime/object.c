/* Loads relocatable objects: check, lay out, copy, relocate, seal.
 *
 *   [ .text | .rodata .. | stubs ]   one mapping, so that every 32-bit distance fits
 *
 * Only what LLVM emits for position-independent kernels is taken: allocated sections without write
 * or thread-local flags, PC32 and PLT32 relocations, and undefined symbols of the closed list
 * below, which are reached through stubs. */
#include "runtime/object.h"

#include <elf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/os_code.h"

enum { MAX_SECTIONS = 4096, STUB_BYTES = 16 };
static const uint64_t max_bytes = UINT64_C(1) << 30;

typedef void AnyFunction(void);
#define EXTERNAL(name)                                                                             \
    {                                                                                              \
#name, (AnyFunction *)name                                                                 \
    }

static const struct External {
    const char *name;
    AnyFunction *function;
} externals[] = {
    EXTERNAL(memcpy), EXTERNAL(memmove), EXTERNAL(memset), EXTERNAL(exp),  EXTERNAL(log),
    EXTERNAL(sin),    EXTERNAL(cos),     EXTERNAL(tan),    EXTERNAL(asin), EXTERNAL(acos),
    EXTERNAL(atan),   EXTERNAL(sinh),    EXTERNAL(cosh),   EXTERNAL(tanh), EXTERNAL(asinh),
    EXTERNAL(acosh),  EXTERNAL(atanh),   EXTERNAL(erf),    EXTERNAL(pow),  EXTERNAL(fmod),
};

enum { EXTERNAL_COUNT = sizeof externals / sizeof *externals };

typedef struct Symbol {
    const char *name; /* inside the object's copy of the names */
    KernelEntry *entry;
} Symbol;

struct Object {
    uint8_t *code;
    size_t size;
    char *names;
    Symbol *symbols;
    size_t symbol_count;
};

typedef struct Loader {
    const uint8_t *bytes;
    uint64_t size;
    const char *why;
    uint32_t section_count;
    Elf64_Shdr *sections; /* aligned copies */
    uint64_t *at;         /* offset of a section in the mapping; UINT64_MAX = not loaded */
    Elf64_Sym *symbols;
    uint64_t symbol_count;
    const char *names;
    uint64_t names_size;
    uint64_t stubs; /* offset of the first stub */
    Object *object;
} Loader;

static bool bad(Loader *l, const char *why)
{
    l->why = why;
    return false;
}

static bool inside(const Loader *l, uint64_t offset, uint64_t size)
{
    return offset <= l->size && size <= l->size - offset;
}

static bool read_header(Loader *l)
{
    Elf64_Ehdr h;
    if (l->size < sizeof h)
        return bad(l, "too short for an object");
    memcpy(&h, l->bytes, sizeof h);
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
        h.e_ident[EI_DATA] != ELFDATA2LSB)
        return bad(l, "not a 64-bit ELF file");
    if (h.e_type != ET_REL || h.e_machine != EM_X86_64)
        return bad(l, "not a relocatable object for x86-64");
    if (h.e_shentsize != sizeof(Elf64_Shdr) || h.e_shnum == 0 || h.e_shnum > MAX_SECTIONS)
        return bad(l, "bad section table");
    if (!inside(l, h.e_shoff, (uint64_t)h.e_shnum * sizeof(Elf64_Shdr)))
        return bad(l, "section table outside the file");
    l->section_count = h.e_shnum;
    l->sections = malloc(h.e_shnum * sizeof *l->sections);
    l->at = malloc(h.e_shnum * sizeof *l->at);
    if (!l->sections || !l->at)
        return bad(l, "out of memory");
    memcpy(l->sections, l->bytes + h.e_shoff, h.e_shnum * sizeof *l->sections);
    return true;
}

static bool read_symbols(Loader *l)
{
    const Elf64_Shdr *table = NULL;
    for (uint32_t i = 0; i < l->section_count; i++) {
        if (l->sections[i].sh_type != SHT_SYMTAB)
            continue;
        if (table)
            return bad(l, "two symbol tables");
        table = &l->sections[i];
    }
    if (!table || table->sh_entsize != sizeof(Elf64_Sym) || table->sh_size % sizeof(Elf64_Sym) ||
        !inside(l, table->sh_offset, table->sh_size) || table->sh_link >= l->section_count)
        return bad(l, "bad symbol table");
    const Elf64_Shdr *names = &l->sections[table->sh_link];
    if (names->sh_type != SHT_STRTAB || names->sh_size == 0 ||
        !inside(l, names->sh_offset, names->sh_size) ||
        l->bytes[names->sh_offset + names->sh_size - 1] != 0)
        return bad(l, "bad names of symbols");
    l->names = (const char *)l->bytes + names->sh_offset;
    l->names_size = names->sh_size;
    l->symbol_count = table->sh_size / sizeof(Elf64_Sym);
    l->symbols = malloc(table->sh_size + 1);
    if (!l->symbols)
        return bad(l, "out of memory");
    memcpy(l->symbols, l->bytes + table->sh_offset, table->sh_size);
    for (uint64_t i = 0; i < l->symbol_count; i++)
        if (l->symbols[i].st_name >= l->names_size)
            return bad(l, "a symbol's name is outside the table");
    return true;
}

/* Places of the allocated sections, then of the stubs. */
static bool lay_out(Loader *l)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < l->section_count; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        l->at[i] = UINT64_MAX;
        if (!(s->sh_flags & SHF_ALLOC) || s->sh_size == 0)
            continue;
        uint64_t align = s->sh_addralign ? s->sh_addralign : 1;
        if (s->sh_flags & (SHF_WRITE | SHF_TLS))
            return bad(l, "a section that can be written");
        if (s->sh_type != SHT_PROGBITS)
            return bad(l, "an unknown kind of section");
        if (align > 4096 || (align & (align - 1)))
            return bad(l, "bad alignment of a section");
        if (!inside(l, s->sh_offset, s->sh_size) || s->sh_size > max_bytes)
            return bad(l, "a section outside the file");
        end = (end + align - 1) & ~(align - 1);
        l->at[i] = end;
        end += s->sh_size;
        if (end > max_bytes)
            return bad(l, "too large");
    }
    l->stubs = (end + STUB_BYTES - 1) / STUB_BYTES * STUB_BYTES;
    l->object->size = (size_t)(l->stubs + EXTERNAL_COUNT * STUB_BYTES + 4095) / 4096 * 4096;
    l->object->code = os_code_alloc(l->object->size);
    if (!l->object->code)
        return bad(l, "out of memory");
    for (uint32_t i = 0; i < l->section_count; i++)
        if (l->at[i] != UINT64_MAX)
            memcpy(l->object->code + l->at[i], l->bytes + l->sections[i].sh_offset,
                   l->sections[i].sh_size);
    return true;
}

/* jmp *0(%rip), then the address. */
static void write_stubs(Loader *l)
{
    for (int i = 0; i < EXTERNAL_COUNT; i++) {
        uint8_t *stub = l->object->code + l->stubs + (uint64_t)i * STUB_BYTES;
        static const uint8_t jump[6] = {0xff, 0x25, 0, 0, 0, 0};
        uint64_t to = (uint64_t)(uintptr_t)externals[i].function;
        memcpy(stub, jump, sizeof jump);
        memcpy(stub + sizeof jump, &to, sizeof to);
    }
}

/* Offset of a symbol in the mapping. */
static bool find_symbol(Loader *l, uint64_t index, uint64_t *offset)
{
    if (index >= l->symbol_count)
        return bad(l, "a relocation names no symbol");
    const Elf64_Sym *s = &l->symbols[index];
    if (s->st_shndx == SHN_UNDEF) {
        for (int i = 0; i < EXTERNAL_COUNT; i++) {
            if (strcmp(externals[i].name, l->names + s->st_name) == 0) {
                *offset = l->stubs + (uint64_t)i * STUB_BYTES;
                return true;
            }
        }
        return bad(l, "an unknown external symbol");
    }
    if (s->st_shndx >= l->section_count || l->at[s->st_shndx] == UINT64_MAX ||
        s->st_value > l->sections[s->st_shndx].sh_size)
        return bad(l, "a symbol outside its section");
    *offset = l->at[s->st_shndx] + s->st_value;
    return true;
}

static bool relocate(Loader *l, const Elf64_Shdr *list)
{
    if (list->sh_info >= l->section_count)
        return bad(l, "relocations of no section");
    if (l->at[list->sh_info] == UINT64_MAX)
        return true; /* not loaded: debugging information and the like */
    if (list->sh_entsize != sizeof(Elf64_Rela) || list->sh_size % sizeof(Elf64_Rela) ||
        !inside(l, list->sh_offset, list->sh_size))
        return bad(l, "bad relocations");
    uint64_t base = l->at[list->sh_info], limit = l->sections[list->sh_info].sh_size;
    for (uint64_t i = 0; i < list->sh_size / sizeof(Elf64_Rela); i++) {
        Elf64_Rela r;
        memcpy(&r, l->bytes + list->sh_offset + i * sizeof r, sizeof r);
        uint64_t type = ELF64_R_TYPE(r.r_info), target;
        if (type != R_X86_64_PC32 && type != R_X86_64_PLT32)
            return bad(l, "an unknown kind of relocation");
        if (limit < 4 || r.r_offset > limit - 4)
            return bad(l, "a relocation outside its section");
        if (!find_symbol(l, ELF64_R_SYM(r.r_info), &target))
            return false;
        if (r.r_addend < INT32_MIN || r.r_addend > INT32_MAX)
            return bad(l, "a relocation out of reach");
        int64_t distance = (int64_t)target + r.r_addend - (int64_t)(base + r.r_offset);
        if (distance < INT32_MIN || distance > INT32_MAX)
            return bad(l, "a relocation out of reach");
        int32_t word = (int32_t)distance;
        memcpy(l->object->code + base + r.r_offset, &word, sizeof word);
    }
    return true;
}

static bool relocate_all(Loader *l)
{
    for (uint32_t i = 0; i < l->section_count; i++) {
        if (l->sections[i].sh_type == SHT_REL)
            return bad(l, "relocations without addends");
        if (l->sections[i].sh_type == SHT_RELA && !relocate(l, &l->sections[i]))
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Symbol *)a)->name, ((const Symbol *)b)->name);
}

static bool collect_entries(Loader *l)
{
    Object *o = l->object;
    o->names = malloc(l->names_size);
    o->symbols = calloc(l->symbol_count + 1, sizeof *o->symbols);
    if (!o->names || !o->symbols)
        return bad(l, "out of memory");
    memcpy(o->names, l->names, l->names_size);
    for (uint64_t i = 0; i < l->symbol_count; i++) {
        const Elf64_Sym *s = &l->symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || ELF64_ST_BIND(s->st_info) != STB_GLOBAL)
            continue;
        if (s->st_shndx >= l->section_count || l->at[s->st_shndx] == UINT64_MAX ||
            !(l->sections[s->st_shndx].sh_flags & SHF_EXECINSTR) ||
            s->st_value >= l->sections[s->st_shndx].sh_size)
            return bad(l, "a function outside the code");
        uintptr_t address = (uintptr_t)(o->code + l->at[s->st_shndx] + s->st_value);
        o->symbols[o->symbol_count++] = (Symbol){o->names + s->st_name, (KernelEntry *)address};
    }
    qsort(o->symbols, o->symbol_count, sizeof *o->symbols, by_name);
    return true;
}

Object *object_load(const void *bytes, size_t size, const char **why)
{
    Loader l = {.bytes = bytes, .size = size, .object = calloc(1, sizeof(Object))};
    bool ok = l.object || bad(&l, "out of memory");
    ok = ok && read_header(&l) && read_symbols(&l) && lay_out(&l);
    if (ok)
        write_stubs(&l);
    ok = ok && relocate_all(&l) && collect_entries(&l);
    if (ok && !os_code_seal(l.object->code, l.object->size))
        ok = bad(&l, "the system refuses executable memory");
    free(l.sections);
    free(l.at);
    free(l.symbols);
    if (ok)
        return l.object;
    *why = l.why;
    object_close(l.object);
    return NULL;
}

KernelEntry *object_find(const Object *object, const char *name)
{
    Symbol key = {.name = name};
    const Symbol *found =
        bsearch(&key, object->symbols, object->symbol_count, sizeof *object->symbols, by_name);
    return found ? found->entry : NULL;
}

void object_close(Object *object)
{
    if (!object)
        return;
    os_code_free(object->code, object->size);
    free(object->names);
    free(object->symbols);
    free(object);
}
