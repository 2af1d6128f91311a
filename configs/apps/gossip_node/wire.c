/* See wire.h. */
#include "wire.h"

#include <string.h>

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }

static uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) << 32 | get32(at + 4); }

static uint8_t *put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value) {
    return put16(put16(at, (uint16_t)(value >> 16)), (uint16_t)value);
}

static uint8_t *put64(uint8_t *at, uint64_t value) {
    return put32(put32(at, (uint32_t)(value >> 32)), (uint32_t)value);
}

static uint8_t *put_header(uint8_t *at, enum wire_type type, uint16_t topic, uint16_t count) {
    at = put16(at, WIRE_MAGIC);
    *at++ = WIRE_VERSION;
    *at++ = (uint8_t)type;
    return put16(put16(at, topic), count);
}

static enum wire_error decode_plain(size_t body_length, const struct wire_datagram *datagram) {
    if (datagram->count != 0) {
        return WIRE_ERROR_COUNT;
    }
    return body_length == 0 ? WIRE_OK : WIRE_ERROR_LENGTH;
}

static enum wire_error decode_prune(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (datagram->count != 0) {
        return WIRE_ERROR_COUNT;
    }
    if (body_length != 4) {
        return WIRE_ERROR_LENGTH;
    }
    datagram->backoff_ms = get32(body);
    return WIRE_OK;
}

static enum wire_error decode_ids(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (datagram->count < 1 || datagram->count > WIRE_MAX_IDS) {
        return WIRE_ERROR_COUNT;
    }
    if (body_length != (size_t)datagram->count * 8) {
        return WIRE_ERROR_LENGTH;
    }
    datagram->ids = body;
    return WIRE_OK;
}

static enum wire_error decode_message(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (datagram->count != 1) {
        return WIRE_ERROR_COUNT;
    }
    if (body_length < WIRE_MESSAGE_HEADER_SIZE) {
        return WIRE_ERROR_SHORT;
    }
    struct wire_message *message = &datagram->message;
    message->id = get64(body);
    message->origin = get32(body + 8);
    message->publish_time_ns = get64(body + 12);
    message->hops = get16(body + 20);
    message->size = get32(body + 22);
    message->payload = body + WIRE_MESSAGE_HEADER_SIZE;
    bool fits = message->size <= WIRE_MAX_PAYLOAD && body_length - WIRE_MESSAGE_HEADER_SIZE == message->size;
    return fits ? WIRE_OK : WIRE_ERROR_LENGTH;
}

static enum wire_error decode_request(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (datagram->count > WIRE_MAX_CHUNKS) {
        return WIRE_ERROR_COUNT;
    }
    if (body_length < WIRE_REQUEST_HEADER_SIZE) {
        return WIRE_ERROR_SHORT;
    }
    struct wire_request *request = &datagram->request;
    request->number = get32(body);
    request->attempt = body[4];
    request->size = get16(body + 5);
    request->filler = body + WIRE_REQUEST_HEADER_SIZE;
    bool fits = request->attempt <= WIRE_MAX_ATTEMPT && request->size <= WIRE_MAX_PAYLOAD &&
                body_length - WIRE_REQUEST_HEADER_SIZE == request->size;
    return fits ? WIRE_OK : WIRE_ERROR_LENGTH;
}

static enum wire_error decode_response(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (datagram->count > WIRE_MAX_CHUNKS) {
        return WIRE_ERROR_COUNT;
    }
    if (body_length < WIRE_RESPONSE_HEADER_SIZE) {
        return WIRE_ERROR_SHORT;
    }
    struct wire_response *response = &datagram->response;
    response->number = get32(body);
    response->attempt = body[4];
    response->status = body[5];
    response->part = get16(body + 6);
    response->parts = get16(body + 8);
    response->size = get32(body + 10);
    response->payload = body + WIRE_RESPONSE_HEADER_SIZE;
    bool fits = response->attempt <= WIRE_MAX_ATTEMPT && response->part < response->parts &&
                response->size <= WIRE_MAX_PAYLOAD && body_length - WIRE_RESPONSE_HEADER_SIZE == response->size;
    return fits ? WIRE_OK : WIRE_ERROR_LENGTH;
}

uint32_t wire_parts(uint32_t size) {
    return size > WIRE_MAX_PAYLOAD ? size / WIRE_MAX_PAYLOAD + (size % WIRE_MAX_PAYLOAD > 0) : 1;
}

uint32_t wire_part_size(uint32_t size, uint32_t part) {
    uint32_t left = size - part * WIRE_MAX_PAYLOAD;
    return left < WIRE_MAX_PAYLOAD ? left : WIRE_MAX_PAYLOAD;
}

static enum wire_error decode_hashes(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (datagram->count < 1 || datagram->count > WIRE_MAX_HASHES) {
        return WIRE_ERROR_COUNT;
    }
    datagram->hashes = body;
    return body_length == (size_t)datagram->count * WIRE_HASH_SIZE ? WIRE_OK : WIRE_ERROR_LENGTH;
}

static enum wire_error decode_ask(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (body_length < 2) {
        return WIRE_ERROR_SHORT;
    }
    datagram->attempt = get16(body);
    enum wire_error error = decode_hashes(body + 2, body_length - 2, datagram);
    return error == WIRE_OK && datagram->attempt > WIRE_MAX_ASK_ATTEMPT ? WIRE_ERROR_LENGTH : error;
}

static enum wire_error decode_carried(const uint8_t *body, size_t body_length, struct wire_datagram *datagram) {
    if (datagram->count > 1 || (datagram->count == 0 && datagram->type == WIRE_TRANSACTION)) {
        return WIRE_ERROR_COUNT;
    }
    if (body_length < WIRE_CARRIED_HEADER_SIZE) {
        return WIRE_ERROR_SHORT;
    }
    struct wire_carried *carried = &datagram->carried;
    carried->hash = body;
    carried->attempt = get16(body + 32);
    carried->hops = get16(body + 34);
    carried->part = get16(body + 36);
    carried->parts = get16(body + 38);
    carried->size = get32(body + 40);
    carried->payload = body + WIRE_CARRIED_HEADER_SIZE;
    uint32_t whole = datagram->count == 1 ? get32(body + 16) : 0;
    bool fits = carried->attempt <= WIRE_MAX_ASK_ATTEMPT && carried->parts == wire_parts(whole) &&
                carried->part < carried->parts && carried->size == wire_part_size(whole, carried->part) &&
                body_length - WIRE_CARRIED_HEADER_SIZE == carried->size;
    return fits ? WIRE_OK : WIRE_ERROR_LENGTH;
}

static enum wire_error decode_greeting(size_t body_length, const struct wire_datagram *datagram) {
    if (datagram->count > WIRE_LEAVES) {
        return WIRE_ERROR_COUNT;
    }
    return body_length == 0 ? WIRE_OK : WIRE_ERROR_LENGTH;
}

enum wire_error wire_decode(const uint8_t *bytes, size_t length, struct wire_datagram *datagram) {
    memset(datagram, 0, sizeof *datagram);
    if (length < WIRE_HEADER_SIZE) {
        return WIRE_ERROR_SHORT;
    }
    if (get16(bytes) != WIRE_MAGIC) {
        return WIRE_ERROR_MAGIC;
    }
    if (bytes[2] != WIRE_VERSION) {
        return WIRE_ERROR_VERSION;
    }
    datagram->type = (enum wire_type)bytes[3];
    datagram->topic = get16(bytes + 4);
    datagram->count = get16(bytes + 6);
    const uint8_t *body = bytes + WIRE_HEADER_SIZE;
    size_t body_length = length - WIRE_HEADER_SIZE;
    if (datagram->type >= WIRE_TRANSACTION && datagram->type <= WIRE_GREETING && datagram->topic != 0) {
        return WIRE_ERROR_TOPIC;
    }
    switch (datagram->type) {
    case WIRE_HELLO:
    case WIRE_LEAVE:
    case WIRE_GRAFT:
        return decode_plain(body_length, datagram);
    case WIRE_PRUNE:
        return decode_prune(body, body_length, datagram);
    case WIRE_IHAVE:
    case WIRE_IWANT:
    case WIRE_IDONTWANT:
        return decode_ids(body, body_length, datagram);
    case WIRE_MESSAGE:
        return decode_message(body, body_length, datagram);
    case WIRE_REQUEST:
        return decode_request(body, body_length, datagram);
    case WIRE_RESPONSE:
        return decode_response(body, body_length, datagram);
    case WIRE_ANNOUNCEMENT:
        return decode_hashes(body, body_length, datagram);
    case WIRE_ASK:
        return decode_ask(body, body_length, datagram);
    case WIRE_TRANSACTION:
    case WIRE_POOLED:
        return decode_carried(body, body_length, datagram);
    case WIRE_GREETING:
        return decode_greeting(body_length, datagram);
    }
    return WIRE_ERROR_TYPE;
}

uint64_t wire_id(const struct wire_datagram *datagram, size_t index) { return get64(datagram->ids + index * 8); }

size_t wire_encode_plain(uint8_t *out, enum wire_type type, uint16_t topic) {
    return (size_t)(put_header(out, type, topic, 0) - out);
}

size_t wire_encode_prune(uint8_t *out, uint16_t topic, uint32_t backoff_ms) {
    return (size_t)(put32(put_header(out, WIRE_PRUNE, topic, 0), backoff_ms) - out);
}

size_t wire_encode_ids(uint8_t *out, enum wire_type type, uint16_t topic, const uint64_t *ids, uint16_t count) {
    uint8_t *at = put_header(out, type, topic, count);
    for (uint16_t i = 0; i < count; i++) {
        at = put64(at, ids[i]);
    }
    return (size_t)(at - out);
}

size_t wire_encode_message(uint8_t *out, uint16_t topic, const struct wire_message *message) {
    uint8_t *at = put_header(out, WIRE_MESSAGE, topic, 1);
    at = put64(at, message->id);
    at = put32(at, message->origin);
    at = put64(at, message->publish_time_ns);
    at = put16(at, message->hops);
    at = put32(at, message->size);
    memcpy(at, message->payload, message->size);
    return (size_t)(at + message->size - out);
}

size_t wire_encode_request(uint8_t *out, uint16_t protocol, uint16_t chunks, const struct wire_request *request) {
    uint8_t *at = put32(put_header(out, WIRE_REQUEST, protocol, chunks), request->number);
    *at++ = request->attempt;
    at = put16(at, request->size);
    if (request->filler == NULL) {
        memset(at, 0, request->size);
    } else {
        memcpy(at, request->filler, request->size);
    }
    return (size_t)(at + request->size - out);
}

/* Of the payload with an id, `size` bytes from byte `first` on. */
static void fill(uint8_t *payload, uint64_t id, uint32_t first, uint32_t size) {
    uint64_t value = id * 0x9E3779B97F4A7C15u + first;
    for (uint32_t i = 0; i < size; i++) {
        payload[i] = (uint8_t)((value + i) >> 32);
    }
}

static bool matches(const uint8_t *payload, uint64_t id, uint32_t first, uint32_t size) {
    uint64_t value = id * 0x9E3779B97F4A7C15u + first;
    for (uint32_t i = 0; i < size; i++) {
        if (payload[i] != (uint8_t)((value + i) >> 32)) {
            return false;
        }
    }
    return true;
}

void wire_fill_payload(uint8_t *payload, uint64_t id, uint32_t size) { fill(payload, id, 0, size); }

bool wire_payload_matches(const struct wire_message *message) {
    return matches(message->payload, message->id, 0, message->size);
}

static uint64_t response_id(const struct wire_response *response, uint32_t asker) {
    return (uint64_t)asker << 32 | response->number;
}

static uint32_t response_start(const struct wire_response *response) {
    return (uint32_t)response->part * WIRE_MAX_PAYLOAD;
}

size_t wire_encode_response(uint8_t *out, uint16_t protocol, uint16_t chunks, const struct wire_response *response) {
    uint8_t *at = put32(put_header(out, WIRE_RESPONSE, protocol, chunks), response->number);
    *at++ = response->attempt;
    *at++ = response->status;
    at = put32(put16(put16(at, response->part), response->parts), response->size);
    memcpy(at, response->payload, response->size);
    return (size_t)(at + response->size - out);
}

void wire_fill_response(uint8_t *payload, const struct wire_response *response, uint32_t asker) {
    fill(payload, response_id(response, asker), response_start(response), response->size);
}

bool wire_response_matches(const struct wire_response *response, uint32_t asker) {
    return matches(response->payload, response_id(response, asker), response_start(response), response->size);
}

/* Transactions */

bool wire_read_hash(const uint8_t *hash, struct wire_transaction *transaction) {
    static const uint8_t zeros[WIRE_HASH_SIZE];
    *transaction = (struct wire_transaction){
        .origin = get32(hash),
        .sequence = get32(hash + 4),
        .submit_time_ns = get64(hash + 8),
        .size = get32(hash + 16),
        .type = hash[20],
    };
    if (transaction->type != WIRE_PLAIN && transaction->type != WIRE_BLOBS) {
        return false;
    }
    uint32_t most = transaction->type == WIRE_BLOBS ? WIRE_MAX_BLOB_TRANSACTION : WIRE_MAX_TRANSACTION;
    return transaction->sequence > 0 && transaction->size > 0 && transaction->size <= most &&
           memcmp(hash + 21, zeros, WIRE_HASH_SIZE - 21) == 0;
}

void wire_write_hash(uint8_t *hash, const struct wire_transaction *transaction) {
    uint8_t *at = put32(put32(hash, transaction->origin), transaction->sequence);
    at = put32(put64(at, transaction->submit_time_ns), transaction->size);
    *at++ = transaction->type;
    memset(at, 0, (size_t)(hash + WIRE_HASH_SIZE - at));
}

static uint8_t *put_hashes(uint8_t *at, const uint8_t *hashes, uint16_t count) {
    size_t length = (size_t)count * WIRE_HASH_SIZE;
    memcpy(at, hashes, length);
    return at + length;
}

size_t wire_encode_announcement(uint8_t *out, const uint8_t *hashes, uint16_t count) {
    return (size_t)(put_hashes(put_header(out, WIRE_ANNOUNCEMENT, 0, count), hashes, count) - out);
}

size_t wire_encode_ask(uint8_t *out, uint16_t attempt, const uint8_t *hashes, uint16_t count) {
    return (size_t)(put_hashes(put16(put_header(out, WIRE_ASK, 0, count), attempt), hashes, count) - out);
}

size_t wire_encode_carried(uint8_t *out, enum wire_type type, uint16_t count, const struct wire_carried *carried) {
    uint8_t *at = put_hashes(put_header(out, type, 0, count), carried->hash, 1);
    at = put16(put16(at, carried->attempt), carried->hops);
    at = put32(put16(put16(at, carried->part), carried->parts), carried->size);
    memcpy(at, carried->payload, carried->size);
    return (size_t)(at + carried->size - out);
}

size_t wire_encode_greeting(uint8_t *out, enum wire_greeting what) {
    return (size_t)(put_header(out, WIRE_GREETING, 0, (uint16_t)what) - out);
}

/* Its origin and sequence, which it begins with, are the id of its payload. */
void wire_fill_carried(uint8_t *payload, const struct wire_carried *carried) {
    fill(payload, get64(carried->hash), (uint32_t)carried->part * WIRE_MAX_PAYLOAD, carried->size);
}

bool wire_carried_matches(const struct wire_carried *carried) {
    uint32_t first = (uint32_t)carried->part * WIRE_MAX_PAYLOAD;
    return matches(carried->payload, get64(carried->hash), first, carried->size);
}
