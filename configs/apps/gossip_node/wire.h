/*
 * The gossip datagram, version 1: bytes to fields and back (docs/gossip-datagram.md). node.c calls it for
 * every datagram; it calls nothing, allocates nothing and trusts no byte that it reads.
 */
#ifndef GOSSIP_WIRE_H
#define GOSSIP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC 0x4147
#define WIRE_VERSION 1
#define WIRE_DEFAULT_PORT 9000
#define WIRE_HEADER_SIZE 8
#define WIRE_MESSAGE_HEADER_SIZE 26
#define WIRE_MAX_IDS 128
#define WIRE_MAX_PAYLOAD 60000
#define WIRE_REQUEST_HEADER_SIZE 7
#define WIRE_RESPONSE_HEADER_SIZE 14
#define WIRE_MAX_CHUNKS 1024
#define WIRE_MAX_ATTEMPT 15
#define WIRE_HASH_SIZE 32
#define WIRE_MAX_HASHES 256
#define WIRE_MAX_ASK_ATTEMPT 2047
#define WIRE_CARRIED_HEADER_SIZE (WIRE_HASH_SIZE + 12)
#define WIRE_MAX_TRANSACTION 131072
#define WIRE_MAX_BLOB_TRANSACTION 4194304
/* A part of a transaction has the longest header. */
#define WIRE_MAX_DATAGRAM (WIRE_HEADER_SIZE + WIRE_CARRIED_HEADER_SIZE + WIRE_MAX_PAYLOAD)

enum wire_type {
    WIRE_HELLO = 1,
    WIRE_LEAVE = 2,
    WIRE_GRAFT = 3,
    WIRE_PRUNE = 4,
    WIRE_IHAVE = 5,
    WIRE_IWANT = 6,
    WIRE_MESSAGE = 7,
    WIRE_IDONTWANT = 8,
    WIRE_REQUEST = 9,
    WIRE_RESPONSE = 10,
    WIRE_TRANSACTION = 11,
    WIRE_ANNOUNCEMENT = 12,
    WIRE_ASK = 13,
    WIRE_POOLED = 14,
    WIRE_GREETING = 15,
};
#define WIRE_TYPE_LIMIT 16

enum wire_error {
    WIRE_OK = 0,
    WIRE_ERROR_SHORT = -1,
    WIRE_ERROR_MAGIC = -2,
    WIRE_ERROR_VERSION = -3,
    WIRE_ERROR_TYPE = -4,
    WIRE_ERROR_COUNT = -5,
    WIRE_ERROR_LENGTH = -6,
    WIRE_ERROR_TOPIC = -7,
};

struct wire_message {
    uint64_t id;
    uint32_t origin;
    uint64_t publish_time_ns;
    uint16_t hops;
    uint32_t size;
    const uint8_t *payload;
};

/* The protocol is the datagram's topic, the number of chunks its count. */
struct wire_request {
    uint32_t number;
    uint8_t attempt;
    uint16_t size;
    const uint8_t *filler; /* NULL: zeros */
};

enum wire_status {
    WIRE_STATUS_OK = 0,
    WIRE_STATUS_REFUSED = 1,
};

struct wire_response {
    uint32_t number;
    uint8_t attempt;
    uint8_t status; /* an enum wire_status; others mean a refusal, too */
    uint16_t part;
    uint16_t parts;
    uint32_t size;
    const uint8_t *payload;
};

enum wire_transaction_type {
    WIRE_PLAIN = 2,
    WIRE_BLOBS = 3,
};

/* What a transaction's hash says of it. */
struct wire_transaction {
    uint32_t origin;
    uint32_t sequence;
    uint64_t submit_time_ns;
    uint32_t size;
    uint8_t type; /* an enum wire_transaction_type */
};

/* The body of TRANSACTION and POOLED: a part of a transaction; in a POOLED of count 0, that it is not there. */
struct wire_carried {
    const uint8_t *hash;
    uint16_t attempt;
    uint16_t hops;
    uint16_t part;
    uint16_t parts;
    uint32_t size;
    const uint8_t *payload;
};

/* The count of a GREETING. */
enum wire_greeting {
    WIRE_GREETS = 0,
    WIRE_ANSWERS = 1,
    WIRE_LEAVES = 2,
};

/* A decoded datagram. The pointers lead into the decoded bytes. */
struct wire_datagram {
    enum wire_type type;
    uint16_t topic;
    uint16_t count;
    uint32_t backoff_ms;         /* PRUNE */
    const uint8_t *ids;          /* IHAVE, IWANT, IDONTWANT: read with wire_id */
    struct wire_message message; /* MESSAGE */
    struct wire_request request;
    struct wire_response response;
    const uint8_t *hashes;       /* ANNOUNCEMENT, ASK: WIRE_HASH_SIZE bytes each */
    uint16_t attempt;            /* ASK */
    struct wire_carried carried; /* TRANSACTION, POOLED */
};

__attribute__((warn_unused_result)) enum wire_error wire_decode(const uint8_t *bytes, size_t length,
                                                                struct wire_datagram *datagram);
uint64_t wire_id(const struct wire_datagram *datagram, size_t index);

/*
 * Each writes one datagram to `out`, which has room for WIRE_MAX_DATAGRAM bytes, and returns its length.
 * wire_encode_plain is for the types that consist of their header: HELLO, LEAVE and GRAFT.
 */
size_t wire_encode_plain(uint8_t *out, enum wire_type type, uint16_t topic);
size_t wire_encode_prune(uint8_t *out, uint16_t topic, uint32_t backoff_ms);
size_t wire_encode_ids(uint8_t *out, enum wire_type type, uint16_t topic, const uint64_t *ids, uint16_t count);
size_t wire_encode_message(uint8_t *out, uint16_t topic, const struct wire_message *message);
size_t wire_encode_request(uint8_t *out, uint16_t protocol, uint16_t chunks, const struct wire_request *request);
size_t wire_encode_response(uint8_t *out, uint16_t protocol, uint16_t chunks, const struct wire_response *response);
size_t wire_encode_announcement(uint8_t *out, const uint8_t *hashes, uint16_t count);
size_t wire_encode_ask(uint8_t *out, uint16_t attempt, const uint8_t *hashes, uint16_t count);
size_t wire_encode_carried(uint8_t *out, enum wire_type type, uint16_t count, const struct wire_carried *carried);
size_t wire_encode_greeting(uint8_t *out, enum wire_greeting what);

/* The payload that every publisher sends under an id, so that every receiver can check what it got. */
void wire_fill_payload(uint8_t *payload, uint64_t id, uint32_t size);
bool wire_payload_matches(const struct wire_message *message);
/* The payload of a part of a response to `asker`; response->payload is not looked at. */
void wire_fill_response(uint8_t *payload, const struct wire_response *response, uint32_t asker);
bool wire_response_matches(const struct wire_response *response, uint32_t asker);
/* The payload of a part of the transaction with carried->hash; carried->payload is not looked at. */
void wire_fill_carried(uint8_t *payload, const struct wire_carried *carried);
bool wire_carried_matches(const struct wire_carried *carried);

/* False if no transaction has such a hash. */
__attribute__((warn_unused_result)) bool wire_read_hash(const uint8_t *hash, struct wire_transaction *transaction);
void wire_write_hash(uint8_t *hash, const struct wire_transaction *transaction);
/* The number of datagrams that so many bytes take, and how many are in one of them. */
uint32_t wire_parts(uint32_t size);
uint32_t wire_part_size(uint32_t size, uint32_t part);

#endif
