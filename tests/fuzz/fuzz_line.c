/* Fuzz target for the line discipline of terminals: any settings, any bytes typed and written, read in any order.
 *
 *   clang -fsanitize=fuzzer,address,undefined -iquote hot/kernel -iquote tests/c -I. tests/fuzz/fuzz_line.c \
 *       tests/c/harness.c hot/kernel/[a-z]*.c -o fuzz_line
 *
 * With -DSTANDALONE it has its own driver: `fuzz_line N [SEED]` runs N inputs, always the same for one seed. An input
 * is a list of actions: set, type, print, read, flush. After each what the terminal holds must be in order, and a read
 * must find what it was promised.
 */
#include <string.h>

#include "harness.h"
#include "tty.h"

#define BYTES_MAX 6000u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct terminal terminal;
static const uint8_t *at, *end;

static uint32_t take(unsigned bytes) {
    uint32_t value = 0;
    while (bytes--)
        value = value << 8 | (at < end ? *at++ : 0);
    return value;
}

static void check(void) {
    uint32_t used = terminal.input_head - terminal.input_tail;
    uint32_t complete = terminal.canonical_head - terminal.input_tail;
    CHECK(used <= LINE_SIZE && complete <= used);
    CHECK(terminal.output_head - terminal.output_tail <= sizeof terminal.output);
    CHECK(terminal.column < UINT32_MAX / 2);
    CHECK(line_waiting(&terminal) <= used);
}

static void set(void) {
    struct termios2 settings = terminal.settings;
    settings.c_iflag ^= take(2) & (take(1) & 1 ? 0xffffu : 0);
    settings.c_oflag ^= take(2) & (take(1) & 1 ? 0xffffu : 0);
    settings.c_lflag ^= take(2) & (take(1) & 1 ? 0xffffu : 0);
    for (uint32_t changes = take(1) % 4; changes; changes--)
        settings.c_cc[take(1) % sizeof settings.c_cc] = (uint8_t)take(1);
    line_set(&terminal, &settings);
}

/* Some bytes of the input, or many of one: often of the one that may take two places. */
static size_t some_bytes(uint8_t *bytes) {
    size_t length = take(1) % 64;
    if (take(1) % 8 == 0) {
        length = take(2) % BYTES_MAX;
        uint32_t byte = take(1);
        memset(bytes, byte % 4 ? (int)byte : 0377, length);
        return length;
    }
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)take(1);
    return length;
}

static void read_some(void) {
    static uint8_t bytes[BYTES_MAX];
    size_t wanted = 1 + take(2) % (BYTES_MAX - 1);
    int64_t available = line_available(&terminal, wanted, take(1));
    if (available < 0)
        return;
    CHECK((size_t)available <= wanted);
    if (available)
        CHECK_EQUAL(line_take(&terminal, bytes, (size_t)available), available);
    else
        CHECK_EQUAL(line_take(&terminal, bytes, wanted), 0); /* the end of a file, which is taken with it */
}

static void act(void) {
    static uint8_t bytes[BYTES_MAX];
    size_t length;
    uint32_t held = terminal.output_head - terminal.output_tail, wanted;
    switch (take(1) % 8) {
    case 0:
        set();
        break;
    case 1:
    case 2:
        length = some_bytes(bytes);
        CHECK(line_type(&terminal, bytes, length) <= length);
        break;
    case 3:
        length = some_bytes(bytes);
        CHECK(line_print(&terminal, bytes, length) <= length);
        break;
    case 4:
    case 5:
        read_some();
        break;
    case 6:
        wanted = take(2);
        terminal.output_tail += KMIN(wanted, held);
        break;
    default:
        if (take(1) % 4 == 0)
            line_flush_input(&terminal);
        line_stop(&terminal, take(1) % 4 == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static struct network *network;
    if (!network)
        network = network_create(1, 1);
    memset(&terminal, 0, sizeof terminal);
    terminal.host = network->hosts[0];
    list_init(&terminal.slaves);
    terminal.settings = (struct termios2){.c_iflag = ICRNL | IXON,
                                          .c_oflag = OPOST | ONLCR,
                                          .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
                                          .c_cc = "\003\034\177\025\004\0\1\0\021\023\032\0\022\017\027\026"};
    /* Positions count on for ever: they pass the largest number now and then. */
    terminal.input_head = terminal.input_tail = terminal.canonical_head = UINT32_MAX - 5000;
    terminal.output_head = terminal.output_tail = UINT32_MAX - 5000;
    at = bytes;
    end = bytes + length;
    while (at < end) {
        act();
        check();
    }
    return 0;
}

#ifdef STANDALONE

int main(int count, char **arguments) {
    harness_begin("fuzz_line");
    unsigned long runs = count > 1 ? strtoul(arguments[1], NULL, 10) : 1000;
    uint64_t state = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    static uint8_t bytes[600];
    while (runs--) {
        size_t length = test_random(&state) % sizeof bytes;
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)test_random(&state);
        (void)LLVMFuzzerTestOneInput(bytes, length);
    }
    return 0;
}

#endif
