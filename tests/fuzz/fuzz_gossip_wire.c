/*
 * Fuzz target for the gossip datagram decoder: whatever it accepts must encode to the same bytes again, and
 * must lead to no byte outside of the input.
 *
 *   clang -fsanitize=fuzzer,address,undefined -Iconfigs/apps/gossip_node tests/fuzz/fuzz_gossip_wire.c \
 *       configs/apps/gossip_node/wire.c -o fuzz_gossip_wire
 *   gcc -fsanitize=address,undefined -DSTANDALONE -Iconfigs/apps/gossip_node tests/fuzz/fuzz_gossip_wire.c \
 *       configs/apps/gossip_node/wire.c -o fuzz_gossip_wire
 *
 * The second has its own driver: `fuzz_gossip_wire N [SEED]` runs N mutations of valid datagrams, always the
 * same for one seed, and `fuzz_gossip_wire -- FILE...` replays inputs. It also reads AFL's `@@` that way. The corpus
 * beside it, corpus/gossip_wire, has a datagram of each type. So that another codec can be compared with this one,
 * `--make N SEED` writes such mutations, each behind its length (u32, big-endian), and `--judge` reads them and says
 * of each, in a byte, whether it is accepted.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static uint8_t again[WIRE_MAX_DATAGRAM];

/* A hash that means a transaction is the only one that means it. */
static void check_hash(const uint8_t *hash) {
    struct wire_transaction transaction;
    uint8_t written[WIRE_HASH_SIZE];
    if (wire_read_hash(hash, &transaction)) {
        wire_write_hash(written, &transaction);
        if (memcmp(written, hash, WIRE_HASH_SIZE) != 0) {
            fputs("a hash that is read is not written as itself\n", stderr);
            abort();
        }
    }
}

static size_t encode(const struct wire_datagram *datagram) {
    uint64_t ids[WIRE_MAX_IDS];
    switch (datagram->type) {
    case WIRE_HELLO:
    case WIRE_LEAVE:
    case WIRE_GRAFT:
        return wire_encode_plain(again, datagram->type, datagram->topic);
    case WIRE_PRUNE:
        return wire_encode_prune(again, datagram->topic, datagram->backoff_ms);
    case WIRE_IHAVE:
    case WIRE_IWANT:
    case WIRE_IDONTWANT:
        for (size_t i = 0; i < datagram->count; i++) {
            ids[i] = wire_id(datagram, i);
        }
        return wire_encode_ids(again, datagram->type, datagram->topic, ids, datagram->count);
    case WIRE_MESSAGE:
        (void)wire_payload_matches(&datagram->message);
        return wire_encode_message(again, datagram->topic, &datagram->message);
    case WIRE_REQUEST:
        return wire_encode_request(again, datagram->topic, datagram->count, &datagram->request);
    case WIRE_RESPONSE:
        (void)wire_response_matches(&datagram->response, 1);
        return wire_encode_response(again, datagram->topic, datagram->count, &datagram->response);
    case WIRE_TRANSACTION:
    case WIRE_POOLED:
        (void)wire_carried_matches(&datagram->carried);
        check_hash(datagram->carried.hash);
        return wire_encode_carried(again, datagram->type, datagram->count, &datagram->carried);
    case WIRE_ANNOUNCEMENT:
    case WIRE_ASK:
        for (size_t i = 0; i < datagram->count; i++) {
            check_hash(datagram->hashes + i * WIRE_HASH_SIZE);
        }
        return datagram->type == WIRE_ASK ? wire_encode_ask(again, datagram->attempt, datagram->hashes, datagram->count)
                                          : wire_encode_announcement(again, datagram->hashes, datagram->count);
    case WIRE_GREETING:
        return wire_encode_greeting(again, (enum wire_greeting)datagram->count);
    }
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct wire_datagram datagram;
    if (wire_decode(bytes, length, &datagram) == WIRE_OK) {
        if (encode(&datagram) != length || memcmp(again, bytes, length) != 0) {
            fputs("an accepted datagram does not encode to itself\n", stderr);
            abort();
        }
    }
    return 0;
}

#ifdef STANDALONE

static uint64_t state;

static uint64_t below(uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % bound;
}

static size_t make_valid_of_transactions(uint8_t *bytes) {
    static uint8_t hashes[WIRE_MAX_HASHES][WIRE_HASH_SIZE];
    static uint8_t payload[WIRE_MAX_PAYLOAD];
    static const uint32_t sizes[] = {1, 300, 60000, 60001, WIRE_MAX_TRANSACTION, WIRE_MAX_BLOB_TRANSACTION};
    uint16_t count = (uint16_t)(1 + (below(2) == 0 ? below(4) : below(WIRE_MAX_HASHES)));
    uint32_t size = sizes[below(sizeof sizes / sizeof sizes[0])];
    for (uint16_t i = 0; i < count; i++) {
        struct wire_transaction transaction = {
            .origin = (uint32_t)below(1u << 31),
            .sequence = (uint32_t)below(9),
            .submit_time_ns = below(1u << 31),
            .size = i == 0 ? size : 300,
            .type = (uint8_t)(WIRE_PLAIN + below(2)),
        };
        wire_write_hash(hashes[i], &transaction);
    }
    struct wire_carried carried = {.hash = hashes[0], .attempt = (uint16_t)below(WIRE_MAX_ASK_ATTEMPT + 1)};
    carried.hops = (uint16_t)below(300);
    carried.parts = 1;
    carried.payload = payload;
    switch (below(5)) {
    case 0:
        return wire_encode_announcement(bytes, hashes[0], count);
    case 1:
        return wire_encode_ask(bytes, carried.attempt, hashes[0], count);
    case 2:
        return wire_encode_greeting(bytes, (enum wire_greeting)below(3));
    case 3:
        return wire_encode_carried(bytes, WIRE_POOLED, 0, &carried);
    default:
        carried.parts = (uint16_t)wire_parts(size);
        carried.part = (uint16_t)below(carried.parts);
        carried.size = wire_part_size(size, carried.part);
        wire_fill_carried(payload, &carried);
        return wire_encode_carried(bytes, below(2) == 0 ? WIRE_POOLED : WIRE_TRANSACTION, 1, &carried);
    }
}

static size_t make_valid(uint8_t *bytes) {
    if (below(3) == 0) {
        return make_valid_of_transactions(bytes);
    }
    uint64_t ids[WIRE_MAX_IDS] = {below(1000), below(1000)};
    static uint8_t payload[2000];
    struct wire_message message = {.id = below(1u << 31), .size = (uint32_t)below(2000), .payload = payload};
    struct wire_request request = {.number = (uint32_t)below(9), .size = (uint16_t)below(2000)};
    struct wire_response response = {
        .number = (uint32_t)below(9), .parts = 1, .size = (uint32_t)below(2000), .payload = payload};
    switch (below(6)) {
    case 4:
        return wire_encode_request(bytes, 1, (uint16_t)below(WIRE_MAX_CHUNKS), &request);
    case 5:
        return wire_encode_response(bytes, 1, (uint16_t)below(WIRE_MAX_CHUNKS), &response);
    case 0:
        return wire_encode_plain(bytes, (enum wire_type)(1 + below(3)), (uint16_t)below(3));
    case 1:
        return wire_encode_prune(bytes, (uint16_t)below(3), (uint32_t)below(70000));
    case 2:
        return wire_encode_ids(bytes, (enum wire_type)(5 + below(2)), 1, ids, (uint16_t)(1 + below(WIRE_MAX_IDS)));
    default:
        wire_fill_payload(payload, message.id, message.size);
        return wire_encode_message(bytes, 1, &message);
    }
}

static size_t mutate(uint8_t *bytes, size_t length) {
    for (uint64_t change = below(4); change > 0 && length > 0; change--) {
        uint64_t where = below(3) == 0 ? below(length) : below(length < 60 ? length : 60);
        switch (below(5)) {
        case 0:
            bytes[where] ^= (uint8_t)(1u << below(8));
            break;
        case 1:
            bytes[where] = (uint8_t)below(256);
            break;
        case 2:
            bytes[where] = below(2) == 0 ? 0 : 0xff;
            break;
        case 3:
            length = (size_t)below(length + 1);
            break;
        default:
            memset(bytes + length, (int)below(256), 9);
            length += (size_t)below(10);
        }
    }
    return length;
}

static void run_exactly(const uint8_t *bytes, size_t length) {
    /* In a block of its own size, so that the address sanitizer sees the first byte read too far. */
    uint8_t *exact = malloc(length > 0 ? length : 1);
    if (exact == NULL) {
        abort();
    }
    memcpy(exact, bytes, length);
    LLVMFuzzerTestOneInput(exact, length);
    free(exact);
}

static int replay(const char *path) {
    static uint8_t bytes[1 << 17];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 2;
    }
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    run_exactly(bytes, length);
    return 0;
}

static void put_length(size_t length) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        putchar((int)(length >> shift & 0xff));
    }
}

static int judge(void) {
    static uint8_t bytes[1 << 17];
    uint8_t head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (length > sizeof bytes || fread(bytes, 1, length, stdin) != length) {
            return 2;
        }
        struct wire_datagram datagram;
        run_exactly(bytes, length);
        putchar(wire_decode(bytes, length, &datagram) == WIRE_OK);
    }
    return 0;
}

int main(int argument_count, char **arguments) {
    if (argument_count == 2 && strcmp(arguments[1], "--judge") == 0) {
        return judge();
    }
    if (argument_count > 2 && strcmp(arguments[1], "--") == 0) {
        int result = 0;
        for (int i = 2; i < argument_count && result == 0; i++) {
            result = replay(arguments[i]);
        }
        return result;
    }
    bool is_making = argument_count == 4 && strcmp(arguments[1], "--make") == 0;
    if (is_making) {
        arguments++;
        argument_count--;
    }
    if (argument_count < 2) {
        fputs("usage: fuzz_gossip_wire [--make] N [SEED] | --judge | -- FILE...\n", stderr);
        return 2;
    }
    static uint8_t bytes[WIRE_MAX_DATAGRAM + 64];
    unsigned long runs = strtoul(arguments[1], NULL, 10);
    state = argument_count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    for (unsigned long i = 0; i < runs; i++) {
        size_t length = mutate(bytes, make_valid(bytes));
        if (is_making) {
            put_length(length);
            fwrite(bytes, 1, length, stdout);
        } else {
            run_exactly(bytes, length);
        }
    }
    if (!is_making) {
        printf("%lu inputs\n", runs);
    }
    return 0;
}

#endif
