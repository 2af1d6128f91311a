/* The datagram codec: every type there and back, the documented examples, and what must be refused. */
#include "wire.h"

#include <string.h>

#include "check.h"

static uint8_t bytes[WIRE_MAX_DATAGRAM + 1];

static void expect_bytes(const uint8_t *expected, size_t expected_length, size_t length) {
    CHECK(length == expected_length);
    CHECK(memcmp(bytes, expected, length) == 0);
}

static void expect_refused(size_t at, uint8_t value, size_t length, enum wire_error error) {
    struct wire_datagram datagram;
    uint8_t before = bytes[at];
    bytes[at] = value;
    CHECK(wire_decode(bytes, length, &datagram) == error);
    bytes[at] = before;
}

/* These are the examples of docs/gossip-datagram.md. */
static void documented_examples(void) {
    static const uint8_t hello[] = {0x41, 0x47, 1, 1, 0, 1, 0, 0};
    expect_bytes(hello, sizeof hello, wire_encode_plain(bytes, WIRE_HELLO, 1));
    static const uint8_t leave[] = {0x41, 0x47, 1, 2, 0, 1, 0, 0};
    expect_bytes(leave, sizeof leave, wire_encode_plain(bytes, WIRE_LEAVE, 1));
    static const uint8_t graft[] = {0x41, 0x47, 1, 3, 0, 1, 0, 0};
    expect_bytes(graft, sizeof graft, wire_encode_plain(bytes, WIRE_GRAFT, 1));
    static const uint8_t prune[] = {0x41, 0x47, 1, 4, 0, 1, 0, 0, 0, 0, 0xea, 0x60};
    expect_bytes(prune, sizeof prune, wire_encode_prune(bytes, 1, 60000));
    static const uint64_t ids[] = {0x0b00000100000001u, 0x0b00000100000002u};
    static const uint8_t ihave[] = {0x41, 0x47, 1, 5, 0, 1, 0, 2, 0x0b, 0, 0, 1, 0, 0, 0, 1, 0x0b, 0, 0, 1, 0, 0, 0, 2};
    expect_bytes(ihave, sizeof ihave, wire_encode_ids(bytes, WIRE_IHAVE, 1, ids, 2));
    static const uint8_t iwant[] = {0x41, 0x47, 1, 6, 0, 1, 0, 1, 0x0b, 0, 0, 1, 0, 0, 0, 2};
    expect_bytes(iwant, sizeof iwant, wire_encode_ids(bytes, WIRE_IWANT, 1, ids + 1, 1));
    static const uint8_t idontwant[] = {0x41, 0x47, 1, 8, 0, 1, 0, 1, 0x0b, 0, 0, 1, 0, 0, 0, 1};
    expect_bytes(idontwant, sizeof idontwant, wire_encode_ids(bytes, WIRE_IDONTWANT, 1, ids, 1));
    static const uint8_t message[] = {
        // clang-format off
        0x41, 0x47, 1, 7, 0, 1, 0, 1,                   /* header */
        0x0b, 0, 0, 1, 0, 0, 0, 1,                      /* id */
        0x0b, 0, 0, 1,                                  /* origin */
        0x0d, 0x23, 0x4c, 0xd0, 0x7c, 0x48, 0xf2, 0x00, /* publish time */
        0, 3,                                           /* hops */
        0, 0, 0, 4,                                     /* size */
        0xce, 0xce, 0xce, 0xce,                         /* payload */
        // clang-format on
    };
    uint8_t payload[4];
    wire_fill_payload(payload, ids[0], sizeof payload);
    struct wire_message fields = {
        .id = ids[0],
        .origin = 0x0b000001,
        .publish_time_ns = 946684805000000000u,
        .hops = 3,
        .size = sizeof payload,
        .payload = payload,
    };
    size_t length = wire_encode_message(bytes, 1, &fields);
    expect_bytes(message, sizeof message, length);
}

static void documented_requests(void) {
    static const uint8_t request[] = {0x41, 0x47, 1, 9, 0, 2, 0, 3, 0, 0, 0, 7, 1, 0, 2, 0, 0};
    struct wire_request asked = {.number = 7, .attempt = 1, .size = 2};
    expect_bytes(request, sizeof request, wire_encode_request(bytes, 2, 3, &asked));
    static const uint8_t answer[] = {0x41, 0x47, 1, 10, 0, 2, 0, 3, 0, 0,    0,    7,    1,
                                     0,    0,    0, 0,  1, 0, 0, 0, 4, 0x27, 0x27, 0x27, 0x27};
    uint8_t payload[4];
    struct wire_response answered = {.number = 7, .attempt = 1, .parts = 1, .size = sizeof payload, .payload = payload};
    wire_fill_response(payload, &answered, 0x0b000001);
    expect_bytes(answer, sizeof answer, wire_encode_response(bytes, 2, 3, &answered));
    static const uint8_t refusal[] = {0x41, 0x47, 1, 10, 0, 2, 0, 0, 0, 0, 0, 7, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0};
    struct wire_response refused = {
        .number = 7, .attempt = 1, .status = WIRE_STATUS_REFUSED, .parts = 1, .payload = payload};
    expect_bytes(refusal, sizeof refusal, wire_encode_response(bytes, 2, 0, &refused));
}

static const struct wire_transaction FIRST = {
    .origin = 0x0b000001,
    .sequence = 1,
    .submit_time_ns = 946684805000000000u,
    .size = 4,
    .type = WIRE_PLAIN,
};

// clang-format off
#define FIRST_HASH 0x0b, 0, 0, 1, 0, 0, 0, 1, 0x0d, 0x23, 0x4c, 0xd0, 0x7c, 0x48, 0xf2, 0x00, 0, 0, 0, 4, 2, \
                   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
// clang-format on

static void documented_transactions(void) {
    uint8_t hash[WIRE_HASH_SIZE], payload[4];
    wire_write_hash(hash, &FIRST);
    static const uint8_t pushed[] = {0x41, 0x47, 1, 11, 0, 0, 0, 1, FIRST_HASH, 0,    0,    0,   3,
                                     0,    0,    0, 1,  0, 0, 0, 4, 0xce,       0xce, 0xce, 0xce};
    struct wire_carried carried = {.hash = hash, .hops = 3, .parts = 1, .size = 4, .payload = payload};
    wire_fill_carried(payload, &carried);
    expect_bytes(pushed, sizeof pushed, wire_encode_carried(bytes, WIRE_TRANSACTION, 1, &carried));
    static const uint8_t announcement[] = {0x41, 0x47, 1, 12, 0, 0, 0, 1, FIRST_HASH};
    expect_bytes(announcement, sizeof announcement, wire_encode_announcement(bytes, hash, 1));
    static const uint8_t ask[] = {0x41, 0x47, 1, 13, 0, 0, 0, 1, 0, 7, FIRST_HASH};
    expect_bytes(ask, sizeof ask, wire_encode_ask(bytes, 7, hash, 1));
    static const uint8_t pooled[] = {0x41, 0x47, 1, 14, 0, 0, 0, 1, FIRST_HASH, 0,    7,    0,   2,
                                     0,    0,    0, 1,  0, 0, 0, 4, 0xce,       0xce, 0xce, 0xce};
    carried.attempt = 7;
    carried.hops = 2;
    expect_bytes(pooled, sizeof pooled, wire_encode_carried(bytes, WIRE_POOLED, 1, &carried));
    static const uint8_t without[] = {0x41, 0x47, 1, 14, 0, 0, 0, 0, FIRST_HASH, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
    struct wire_carried missing = {.hash = hash, .attempt = 7, .parts = 1, .payload = payload};
    expect_bytes(without, sizeof without, wire_encode_carried(bytes, WIRE_POOLED, 0, &missing));
    static const uint8_t greeting[] = {0x41, 0x47, 1, 15, 0, 0, 0, 0};
    expect_bytes(greeting, sizeof greeting, wire_encode_greeting(bytes, WIRE_GREETS));
}

static void transactions_come_back_in_their_parts(void) {
    static uint8_t payload[WIRE_MAX_PAYLOAD];
    uint8_t hash[WIRE_HASH_SIZE];
    struct wire_transaction transaction = FIRST;
    transaction.size = 130000;
    wire_write_hash(hash, &transaction);
    CHECK(wire_parts(0) == 1 && wire_parts(60000) == 1 && wire_parts(60001) == 2 && wire_parts(130000) == 3);
    uint32_t total = 0;
    for (uint16_t part = 0; part < 3; part++) {
        struct wire_carried sent = {.hash = hash, .attempt = 2047, .hops = 65535, .part = part, .parts = 3};
        sent.size = wire_part_size(transaction.size, part);
        sent.payload = payload;
        wire_fill_carried(payload, &sent);
        total += sent.size;
        size_t length = wire_encode_carried(bytes, WIRE_POOLED, 1, &sent);
        struct wire_datagram datagram;
        CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
        CHECK(datagram.type == WIRE_POOLED && datagram.count == 1);
        const struct wire_carried *got = &datagram.carried;
        CHECK(memcmp(got->hash, hash, WIRE_HASH_SIZE) == 0 && got->attempt == 2047 && got->hops == 65535);
        CHECK(got->part == part && got->parts == 3 && got->size == sent.size && wire_carried_matches(got));
        bytes[length - 1] ^= 1;
        CHECK(!wire_carried_matches(got));
        bytes[length - 1] ^= 1;
        size_t body = WIRE_HEADER_SIZE;
        expect_refused(5, 1, length, WIRE_ERROR_TOPIC);
        expect_refused(7, 0, length, WIRE_ERROR_LENGTH);
        expect_refused(7, 2, length, WIRE_ERROR_COUNT);
        expect_refused(body + 32, 8, length, WIRE_ERROR_LENGTH);
        expect_refused(body + 37, 3, length, WIRE_ERROR_LENGTH);
        expect_refused(body + 39, 2, length, WIRE_ERROR_LENGTH);
        expect_refused(body + 39, 4, length, WIRE_ERROR_LENGTH);
        expect_refused(body + 16, 0xff, length, WIRE_ERROR_LENGTH);
        bytes[3] = WIRE_TRANSACTION;
        expect_refused(7, 0, length, WIRE_ERROR_COUNT);
    }
    CHECK(total == transaction.size);
}

static void announcements_and_asks_come_back(void) {
    static uint8_t hashes[WIRE_MAX_HASHES + 1][WIRE_HASH_SIZE];
    for (size_t i = 0; i < WIRE_MAX_HASHES; i++) {
        struct wire_transaction transaction = FIRST;
        transaction.sequence += (uint32_t)i;
        wire_write_hash(hashes[i], &transaction);
    }
    struct wire_datagram datagram;
    size_t length = wire_encode_announcement(bytes, hashes[0], WIRE_MAX_HASHES);
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
    CHECK(datagram.type == WIRE_ANNOUNCEMENT && datagram.count == WIRE_MAX_HASHES);
    CHECK(memcmp(datagram.hashes, hashes, (size_t)WIRE_MAX_HASHES * WIRE_HASH_SIZE) == 0);
    length = wire_encode_ask(bytes, WIRE_MAX_ASK_ATTEMPT, hashes[0], WIRE_MAX_HASHES);
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
    CHECK(datagram.type == WIRE_ASK && datagram.attempt == WIRE_MAX_ASK_ATTEMPT);
    CHECK(memcmp(datagram.hashes, hashes, (size_t)WIRE_MAX_HASHES * WIRE_HASH_SIZE) == 0);
    expect_refused(WIRE_HEADER_SIZE, 8, length, WIRE_ERROR_LENGTH);
    expect_refused(6, 0, length, WIRE_ERROR_COUNT);
    expect_refused(7, 1, length + WIRE_HASH_SIZE, WIRE_ERROR_COUNT);
    for (uint8_t what = WIRE_GREETS; what <= WIRE_LEAVES; what++) {
        length = wire_encode_greeting(bytes, (enum wire_greeting)what);
        CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK && datagram.count == what);
    }
    expect_refused(7, 3, length, WIRE_ERROR_COUNT);
}

static void only_hashes_of_transactions_are_read(void) {
    uint8_t hash[WIRE_HASH_SIZE];
    struct wire_transaction read, right = FIRST;
    wire_write_hash(hash, &right);
    CHECK(wire_read_hash(hash, &read));
    CHECK(read.origin == right.origin && read.sequence == 1 && read.submit_time_ns == right.submit_time_ns);
    CHECK(read.size == 4 && read.type == WIRE_PLAIN);
    for (size_t at = 20; at < WIRE_HASH_SIZE; at++) { /* the type, and zeros */
        hash[at] ^= 4;
        CHECK(!wire_read_hash(hash, &read));
        hash[at] ^= 4;
    }
    const struct wire_transaction wrong[] = {
        {.sequence = 0, .size = 1, .type = WIRE_PLAIN},
        {.sequence = 1, .size = 0, .type = WIRE_PLAIN},
        {.sequence = 1, .size = WIRE_MAX_TRANSACTION + 1, .type = WIRE_PLAIN},
        {.sequence = 1, .size = WIRE_MAX_BLOB_TRANSACTION + 1, .type = WIRE_BLOBS},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wire_write_hash(hash, &wrong[i]);
        CHECK(!wire_read_hash(hash, &read));
    }
    struct wire_transaction largest = {.sequence = 1, .size = WIRE_MAX_BLOB_TRANSACTION, .type = WIRE_BLOBS};
    wire_write_hash(hash, &largest);
    CHECK(wire_read_hash(hash, &read) && read.size == WIRE_MAX_BLOB_TRANSACTION);
}

static void requests_and_responses_come_back(void) {
    struct wire_datagram datagram;
    struct wire_request request = {.number = 0xfedcba98, .attempt = WIRE_MAX_ATTEMPT, .size = WIRE_MAX_PAYLOAD};
    size_t length = wire_encode_request(bytes, 0xfffe, WIRE_MAX_CHUNKS, &request);
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
    CHECK(datagram.type == WIRE_REQUEST && datagram.topic == 0xfffe && datagram.count == WIRE_MAX_CHUNKS);
    CHECK(datagram.request.number == request.number && datagram.request.attempt == request.attempt);
    CHECK(datagram.request.size == request.size);
    bytes[WIRE_HEADER_SIZE + 4] = WIRE_MAX_ATTEMPT + 1;
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_ERROR_LENGTH);

    static uint8_t payload[WIRE_MAX_PAYLOAD];
    struct wire_response response = {
        .number = 5, .attempt = 2, .part = 3, .parts = 9, .size = WIRE_MAX_PAYLOAD, .payload = payload};
    wire_fill_response(payload, &response, 77);
    length = wire_encode_response(bytes, 1, 30, &response);
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
    CHECK(datagram.response.number == 5 && datagram.response.attempt == 2 && datagram.response.status == 0);
    CHECK(datagram.response.part == 3 && datagram.response.parts == 9 && datagram.count == 30);
    CHECK(wire_response_matches(&datagram.response, 77) && !wire_response_matches(&datagram.response, 78));
    bytes[WIRE_HEADER_SIZE + 9] = 3; /* no part beyond the last */
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_ERROR_LENGTH);
    bytes[6] = 4; /* 1024 chunks, and 30 more */
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_ERROR_COUNT);
}

static void everything_comes_back(void) {
    struct wire_datagram datagram;
    size_t length = wire_encode_prune(bytes, 0xfffe, 0xfedcba98);
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
    CHECK(datagram.type == WIRE_PRUNE && datagram.topic == 0xfffe && datagram.backoff_ms == 0xfedcba98);

    uint64_t ids[WIRE_MAX_IDS];
    for (size_t i = 0; i < WIRE_MAX_IDS; i++) {
        ids[i] = UINT64_MAX - i * 0x0123456789abcdefu;
    }
    length = wire_encode_ids(bytes, WIRE_IWANT, 7, ids, WIRE_MAX_IDS);
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
    CHECK(datagram.type == WIRE_IWANT && datagram.count == WIRE_MAX_IDS);
    for (size_t i = 0; i < WIRE_MAX_IDS; i++) {
        CHECK(wire_id(&datagram, i) == ids[i]);
    }

    static uint8_t payload[WIRE_MAX_PAYLOAD];
    static const uint32_t sizes[] = {0, 1, 255, 1400, WIRE_MAX_PAYLOAD};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct wire_message sent = {
            .id = ids[i],
            .origin = 0xfffefdfc,
            .publish_time_ns = UINT64_MAX - 1,
            .hops = 0xfffe,
            .size = sizes[i],
            .payload = payload,
        };
        wire_fill_payload(payload, sent.id, sent.size);
        length = wire_encode_message(bytes, 9, &sent);
        CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
        const struct wire_message *received = &datagram.message;
        CHECK(received->id == sent.id && received->origin == sent.origin && received->hops == sent.hops);
        CHECK(received->publish_time_ns == sent.publish_time_ns && received->size == sent.size);
        CHECK(wire_payload_matches(received));
        if (sent.size > 0) {
            bytes[length - 1] ^= 1;
            CHECK(!wire_payload_matches(received));
        }
    }
}

static void every_other_length_is_refused(void) {
    static const uint64_t ids[] = {1, 2, 3};
    struct wire_message message = {.id = 5, .size = 3, .payload = (const uint8_t *)"abc"};
    struct wire_datagram datagram;
    struct wire_request request = {.number = 5, .size = 3};
    struct wire_response response = {.number = 5, .parts = 1, .size = 3, .payload = (const uint8_t *)"abc"};
    uint8_t hash[WIRE_HASH_SIZE];
    wire_write_hash(hash, &FIRST);
    struct wire_carried carried = {.hash = hash, .parts = 1, .size = 4, .payload = (const uint8_t *)"abcd"};
    struct wire_carried missing = {.hash = hash, .parts = 1, .payload = (const uint8_t *)""};
    for (int kind = 0; kind < 11; kind++) {
        memset(bytes, 0, 256);
        size_t length = kind == 0   ? wire_encode_plain(bytes, WIRE_GRAFT, 1)
                        : kind == 1 ? wire_encode_prune(bytes, 1, 9)
                        : kind == 2 ? wire_encode_ids(bytes, WIRE_IHAVE, 1, ids, 3)
                        : kind == 3 ? wire_encode_request(bytes, 1, 1, &request)
                        : kind == 4 ? wire_encode_response(bytes, 1, 1, &response)
                        : kind == 5 ? wire_encode_message(bytes, 1, &message)
                        : kind == 6 ? wire_encode_announcement(bytes, hash, 1)
                        : kind == 7 ? wire_encode_ask(bytes, 1, hash, 1)
                        : kind == 8 ? wire_encode_carried(bytes, WIRE_TRANSACTION, 1, &carried)
                        : kind == 9 ? wire_encode_carried(bytes, WIRE_POOLED, 0, &missing)
                                    : wire_encode_greeting(bytes, WIRE_LEAVES);
        for (size_t other = 0; other < 256; other++) {
            CHECK((wire_decode(bytes, other, &datagram) == WIRE_OK) == (other == length));
        }
    }
}

static void wrong_headers_are_refused(void) {
    size_t length = wire_encode_plain(bytes, WIRE_HELLO, 1);
    expect_refused(0, 0x40, length, WIRE_ERROR_MAGIC);
    expect_refused(1, 0x48, length, WIRE_ERROR_MAGIC);
    expect_refused(2, 0, length, WIRE_ERROR_VERSION);
    expect_refused(2, 2, length, WIRE_ERROR_VERSION);
    expect_refused(3, 0, length, WIRE_ERROR_TYPE);
    expect_refused(3, WIRE_TYPE_LIMIT, length, WIRE_ERROR_TYPE);
    expect_refused(3, 255, length, WIRE_ERROR_TYPE);
    expect_refused(7, 1, length, WIRE_ERROR_COUNT);
    length = wire_encode_prune(bytes, 1, 1);
    expect_refused(7, 1, length, WIRE_ERROR_COUNT);
    uint64_t ids[WIRE_MAX_IDS] = {0};
    length = wire_encode_ids(bytes, WIRE_IHAVE, 1, ids, WIRE_MAX_IDS);
    expect_refused(7, 0, length, WIRE_ERROR_COUNT);
    expect_refused(7, WIRE_MAX_IDS + 1, length + 8, WIRE_ERROR_COUNT);
    struct wire_message message = {.id = 5, .size = 0, .payload = bytes};
    length = wire_encode_message(bytes, 1, &message);
    expect_refused(7, 0, length, WIRE_ERROR_COUNT);
    expect_refused(7, 2, length, WIRE_ERROR_COUNT);
    expect_refused(WIRE_HEADER_SIZE + 22, 0xff, length, WIRE_ERROR_LENGTH);
}

static void a_payload_above_the_limit_is_refused(void) {
    static uint8_t payload[WIRE_MAX_PAYLOAD];
    struct wire_message message = {.id = 5, .size = WIRE_MAX_PAYLOAD, .payload = payload};
    struct wire_datagram datagram;
    size_t length = wire_encode_message(bytes, 1, &message);
    CHECK(length <= WIRE_MAX_DATAGRAM);
    CHECK(wire_decode(bytes, length, &datagram) == WIRE_OK);
    bytes[WIRE_HEADER_SIZE + 25]++; /* the size's last byte, and one more byte of payload to match */
    CHECK(wire_decode(bytes, length + 1, &datagram) == WIRE_ERROR_LENGTH);
}

int main(void) {
    documented_examples();
    documented_requests();
    documented_transactions();
    transactions_come_back_in_their_parts();
    announcements_and_asks_come_back();
    only_hashes_of_transactions_are_read();
    requests_and_responses_come_back();
    everything_comes_back();
    every_other_length_is_refused();
    wrong_headers_are_refused();
    a_payload_above_the_limit_is_refused();
    return 0;
}
