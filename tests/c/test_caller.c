/* Names of callers: modules and offsets from the text of a maps file, call sites behind stubs. */
#include <string.h>

#include "harness.h"
#include "hot/kernel/caller.h"

static const char maps[] = "400000-401000 r--p 00000000 08:01 12 /usr/bin/program\n"
                           "401000-405000 r-xp 00001000 08:01 12 /usr/bin/program\n"
                           "405000-406000 rw-p 00000000 00:00 0 \n"
                           "7f0000000000-7f0000001000 r--p 00000000 08:01 13 /lib/libc.so.6\n"
                           "7f0000001000-7f0000002000 r-xp 00001000 08:01 13 /lib/libc.so.6\n"
                           "7f0000002000-7f0000003000 r-xp 00000000 08:01 14 /lib/my lib.so\n"
                           "7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0 [stack]";

static void check_described(uint64_t address, const char *expected) {
    char text[64];
    caller_describe(maps, address, text, sizeof text);
    if (strcmp(text, expected) != 0) {
        fprintf(stderr, "%s, not %s\n", text, expected);
        CHECK(!"described");
    }
}

static void addresses_are_named_by_module_and_offset(void) {
    check_described(0x400000, "program+0x0");
    check_described(0x401234, "program+0x1234");
    check_described(0x405000, "0x405000"); /* anonymous */
    check_described(0x7f0000001fff, "libc.so.6+0x1fff");
    check_described(0x7f0000002001, "my lib.so+0x1");
    check_described(0x7ffe00000010, "0x7ffe00000010");
    check_described(0x10, "0x10");
    char text[64];
    caller_describe("", 0x401234, text, sizeof text);
    CHECK(strcmp(text, "0x401234") == 0);
}

static void a_long_name_is_cut(void) {
    char text[12];
    caller_describe(maps, 0x7f0000001fff, text, sizeof text);
    CHECK(strcmp(text, "libc.so.6+0") == 0);
}

/* The code that the shim writes, by hand: 20 bytes of way in, then what went on at `ip`. */
static void stubs_lead_back_to_their_sites(void) {
    static const uint8_t way_in[STUB_BEFORE] = {0x48, 0x8d, 0x0d, 13, 0, 0, 0, 0x49, 0xbb, 1,
                                                2,    3,    4,    5,  6, 7, 8, 0x41, 0xff, 0xe3};
    uint8_t code[STUB_BEFORE + STUB_AFTER] = {0};
    const uint64_t ip = 0x10000014, site = 0x401002; /* behind the syscall */
    memcpy(code, way_in, sizeof way_in);
    code[STUB_BEFORE] = 0xe9; /* jmp site */
    int32_t distance = (int32_t)(site - (ip + 5));
    memcpy(code + STUB_BEFORE + 1, &distance, sizeof distance);
    CHECK_EQUAL(caller_origin(ip, code), site);
    static const uint8_t compare[] = {0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xe9}; /* cmp $-4095, %rax; jmp site + 6 */
    memcpy(code + STUB_BEFORE, compare, sizeof compare);
    memcpy(code + STUB_BEFORE + sizeof compare, &distance, sizeof distance);
    CHECK_EQUAL(caller_origin(ip, code), site);
    code[0] = 0x90;
    CHECK_EQUAL(caller_origin(ip, code), ip);
}

int main(void) {
    RUN(addresses_are_named_by_module_and_offset);
    RUN(a_long_name_is_cut);
    RUN(stubs_lead_back_to_their_sites);
    return 0;
}
