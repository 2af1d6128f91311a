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

static uint8_t payload_byte(uint64_t id, uint32_t index) { return (uint8_t)((id * 0x9E3779B97F4A7C15u + index) >> 32); }

void wire_fill_payload(uint8_t *payload, uint64_t id, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        payload[i] = payload_byte(id, i);
    }
}

bool wire_payload_matches(const struct wire_message *message) {
    for (uint32_t i = 0; i < message->size; i++) {
        if (message->payload[i] != payload_byte(message->id, i)) {
            return false;
        }
    }
    return true;
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
    for (uint32_t i = 0; i < response->size; i++) {
        payload[i] = payload_byte(response_id(response, asker), response_start(response) + i);
    }
}

bool wire_response_matches(const struct wire_response *response, uint32_t asker) {
    for (uint32_t i = 0; i < response->size; i++) {
        if (response->payload[i] != payload_byte(response_id(response, asker), response_start(response) + i)) {
            return false;
        }
    }
    return true;
}
