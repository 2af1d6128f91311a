/* When a node asks, what it waits for, and what ends the waiting. */
#include "requests.h"

#include "check.h"

static const struct endpoint PEER = {.address = 0x0b000002, .port = 9000};
static const struct endpoint OTHER = {.address = 0x0b000003, .port = 9000};

static struct ask asks[] = {
    {.protocol = 2, .start_ns = 100, .interval_ns = 50, .count = 3, .chunks = 1, .timeout_ns = 1000},
    {.protocol = 5, .start_ns = 120, .interval_ns = 0, .count = 2, .chunks = 1, .timeout_ns = 10},
};
static struct options options = {.advertise = 0x0b000001, .asks = asks, .ask_count = 2};

static void requests_come_at_their_times(void) {
    struct requests requests;
    requests_open(&requests, &options, 1000);
    CHECK(requests_next_time(&requests) == 1100);
    CHECK(requests_due(&requests, 1099) == NULL);
    CHECK(requests_due(&requests, 1125) == &asks[0]);
    CHECK(requests_due(&requests, 1125) == &asks[1]);
    CHECK(requests_due(&requests, 1125) == &asks[1]);
    CHECK(requests_due(&requests, 1125) == NULL);
    CHECK(requests_next_time(&requests) == 1150);
    CHECK(requests_due(&requests, 9999) == &asks[0]);
    CHECK(requests_due(&requests, 9999) == &asks[0]);
    CHECK(requests_next_time(&requests) == INT64_MAX);
    requests_close(&requests);
}

static void a_request_ends_at_its_deadline(void) {
    struct requests requests;
    struct open_request over;
    requests_open(&requests, &options, 1000);
    uint32_t first = requests_begin(&requests, &asks[0], PEER, 1000);
    uint32_t second = requests_begin(&requests, &asks[1], PEER, 1000);
    CHECK(requests_next_time(&requests) == 1010);
    CHECK(!requests_expire(&requests, &over, 1009));
    CHECK(requests_expire(&requests, &over, 1010) && over.number == second);
    CHECK(!requests_expire(&requests, &over, 1999));
    CHECK(requests_expire(&requests, &over, 2000) && over.number == first);
    requests_close(&requests);
}

static void only_all_parts_in_order_of_who_was_asked_complete_a_request(void) {
    struct requests requests;
    struct open_request done;
    uint8_t payload[3];
    requests_open(&requests, &options, 0);
    uint32_t number = requests_begin(&requests, &asks[0], PEER, 0);
    struct wire_datagram datagram = {.type = WIRE_RESPONSE, .topic = 2, .count = 1};
    struct wire_response *response = &datagram.response;
    *response = (struct wire_response){.number = number, .parts = 3, .size = 3, .payload = payload};
    CHECK(requests_receive(&requests, &datagram, OTHER, &done) == REQUESTS_UNKNOWN);
    datagram.topic = 3;
    CHECK(requests_receive(&requests, &datagram, PEER, &done) == REQUESTS_UNKNOWN);
    datagram.topic = 2;
    response->part = 1;
    CHECK(requests_receive(&requests, &datagram, PEER, &done) == REQUESTS_UNKNOWN);
    for (response->part = 0; response->part < 3; response->part++) {
        wire_fill_response(payload, response, options.advertise);
        enum requests_outcome expected = response->part < 2 ? REQUESTS_PART : REQUESTS_COMPLETE;
        CHECK(requests_receive(&requests, &datagram, PEER, &done) == expected);
    }
    CHECK(done.number == number && done.bytes == 9 && done.intact);
    response->part = 2;
    CHECK(requests_receive(&requests, &datagram, PEER, &done) == REQUESTS_UNKNOWN);
    requests_close(&requests);
}

static void a_wrong_byte_is_noticed(void) {
    struct requests requests;
    struct open_request done;
    uint8_t payload[3];
    requests_open(&requests, &options, 0);
    struct wire_datagram datagram = {.type = WIRE_RESPONSE, .topic = 2, .count = 1};
    datagram.response = (struct wire_response){
        .number = requests_begin(&requests, &asks[0], PEER, 0), .parts = 1, .size = 3, .payload = payload};
    wire_fill_response(payload, &datagram.response, options.advertise);
    payload[1] ^= 4;
    CHECK(requests_receive(&requests, &datagram, PEER, &done) == REQUESTS_COMPLETE);
    CHECK(!done.intact);
    requests_close(&requests);
}

int main(void) {
    requests_come_at_their_times();
    a_request_ends_at_its_deadline();
    only_all_parts_in_order_of_who_was_asked_complete_a_request();
    a_wrong_byte_is_noticed();
    return 0;
}
