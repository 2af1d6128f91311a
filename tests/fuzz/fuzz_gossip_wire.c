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
 * same for one seed, and `fuzz_gossip_wire -- FILE...` replays inputs. It also reads AFL's `@@` that way.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static uint8_t again[WIRE_MAX_DATAGRAM];

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

static size_t make_valid(uint8_t *bytes) {
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
        uint64_t where = below(3) == 0 ? below(length) : below(length < 40 ? length : 40);
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

int main(int argument_count, char **arguments) {
    if (argument_count > 2 && strcmp(arguments[1], "--") == 0) {
        int result = 0;
        for (int i = 2; i < argument_count && result == 0; i++) {
            result = replay(arguments[i]);
        }
        return result;
    }
    if (argument_count < 2) {
        fputs("usage: fuzz_gossip_wire N [SEED] | fuzz_gossip_wire -- FILE...\n", stderr);
        return 2;
    }
    static uint8_t bytes[WIRE_MAX_DATAGRAM + 64];
    unsigned long runs = strtoul(arguments[1], NULL, 10);
    state = argument_count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    for (unsigned long i = 0; i < runs; i++) {
        run_exactly(bytes, mutate(bytes, make_valid(bytes)));
    }
    printf("%lu inputs\n", runs);
    return 0;
}

#endif
