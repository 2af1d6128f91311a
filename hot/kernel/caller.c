/* Names of callers, for warnings (the shim, about its own process) and for reports of hangs (the shard, about another).
 *
 * Neither knows the other's way to a process's memory, so both bring the bytes.
 */
#include "caller.h"
#include "kernel.h"

uint64_t caller_origin(uint64_t ip, const uint8_t code[STUB_BEFORE + STUB_AFTER]) {
    static const uint8_t lea[] = {0x48, 0x8d, 0x0d, 13, 0, 0, 0}, movabs[] = {0x49, 0xbb}, jump[] = {0x41, 0xff, 0xe3};
    if (memcmp(code, lea, sizeof lea) || memcmp(code + 7, movabs, sizeof movabs) ||
        memcmp(code + 17, jump, sizeof jump))
        return ip;
    const uint8_t *at = code + STUB_BEFORE;
    size_t moved = *at == 0xe9 ? 0 : 6; /* the cmp that stood behind the syscall */
    int32_t distance;
    memcpy(&distance, at + moved + 1, sizeof distance);
    return ip + 5 + (uint64_t)(int64_t)distance;
}

const char *maps_number(const char *at, uint64_t *value) {
    for (*value = 0; (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f'); at++)
        *value = *value * 16 + (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
    return at;
}

/* A line is "start-end permissions offset device inode    path". A module's mappings follow each other. */
void caller_describe(const char *maps, uint64_t address, char *out, size_t capacity) {
    uint64_t module_start = 0;
    const char *module = "";
    size_t module_length = 0;
    kprintf(out, capacity, "0x%lx", (unsigned long)address);
    for (const char *at = maps; *at; at += *at == '\n') {
        uint64_t start, end;
        at = maps_number(at, &start);
        at = maps_number(at + (*at == '-'), &end);
        const char *base = NULL;
        for (; *at && *at != '\n'; at++)
            if (*at == '/')
                base = at + 1;
        size_t length = base ? (size_t)(at - base) : 0;
        if (length != module_length || memcmp(base ? base : "", module, length) != 0)
            module_start = start;
        module = base ? base : "";
        module_length = length;
        if (address < start || address >= end)
            continue;
        if (base)
            kprintf(out, capacity, "%.*s+0x%lx", (int)length, base, (unsigned long)(address - module_start));
        return;
    }
}
