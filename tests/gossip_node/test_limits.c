/* How many chunks a peer is given, and when it is given more. */
#include "limits.h"

#include "check.h"

static const struct endpoint PEER = {.address = 0x0b000002, .port = 9000};
static const struct endpoint OTHER = {.address = 0x0b000003, .port = 9000};

static struct limit table[] = {
    {.protocol = 2, .tokens = 4, .period_ns = 4000},
    {.protocol = 5, .tokens = 1, .period_ns = 100},
};
static struct options options = {.limits = table, .limit_count = 2};

static void a_bucket_is_filled_up_again_in_its_period(void) {
    struct limits limits;
    limits_open(&limits, &options);
    CHECK(!limits_admit(&limits, 2, PEER, 5, 0)); /* more than there ever are, and it takes none */
    CHECK(limits_admit(&limits, 2, PEER, 4, 0));
    CHECK(!limits_admit(&limits, 2, PEER, 1, 999));
    CHECK(limits_admit(&limits, 2, PEER, 1, 1000));
    CHECK(!limits_admit(&limits, 2, PEER, 1, 1000));
    CHECK(!limits_admit(&limits, 2, PEER, 4, 4999));
    CHECK(limits_admit(&limits, 2, PEER, 4, 5000)); /* 1000 after the four, for the one */
    CHECK(!limits_admit(&limits, 2, PEER, 5, 1000000));
    limits_close(&limits);
}

static void a_request_for_nothing_takes_a_token(void) {
    struct limits limits;
    limits_open(&limits, &options);
    CHECK(limits_admit(&limits, 5, PEER, 0, 7));
    CHECK(!limits_admit(&limits, 5, PEER, 0, 106));
    CHECK(limits_admit(&limits, 5, PEER, 0, 107));
    limits_close(&limits);
}

static void each_peer_and_protocol_has_its_own_bucket(void) {
    struct limits limits;
    limits_open(&limits, &options);
    CHECK(limits_admit(&limits, 2, PEER, 4, 0));
    CHECK(limits_admit(&limits, 2, OTHER, 4, 0));
    CHECK(limits_admit(&limits, 5, PEER, 1, 0));
    CHECK(!limits_admit(&limits, 2, PEER, 1, 0));
    CHECK(!limits_admit(&limits, 2, OTHER, 1, 0));
    CHECK(!limits_admit(&limits, 5, PEER, 1, 0));
    for (int i = 0; i < 100; i++) {
        CHECK(limits_admit(&limits, 3, PEER, 1024, 0)); /* it has no limit */
    }
    limits_close(&limits);
}

static void who_comes_when_too_many_buckets_are_in_use_is_refused_until_one_is_full(void) {
    struct limits limits;
    limits_open(&limits, &options);
    for (uint32_t i = 0; i < LIMITS_MAX_PEERS; i++) {
        CHECK(limits_admit(&limits, 2, (struct endpoint){.address = i}, 1 + (i != 9), 0));
    }
    CHECK(!limits_admit(&limits, 2, PEER, 1, 999));
    CHECK(limits_admit(&limits, 2, (struct endpoint){.address = 7}, 1, 999));
    CHECK(limits_admit(&limits, 2, PEER, 1, 1000));
    CHECK(!limits_admit(&limits, 2, OTHER, 1, 1000));
    CHECK(limits.buckets[0].count == LIMITS_MAX_PEERS);
    CHECK(limits_admit(&limits, 2, OTHER, 1, 3000));
    CHECK(limits.buckets[0].count == 1); /* the others are full */
    limits_close(&limits);
}

int main(void) {
    a_bucket_is_filled_up_again_in_its_period();
    a_request_for_nothing_takes_a_token();
    each_peer_and_protocol_has_its_own_bucket();
    who_comes_when_too_many_buckets_are_in_use_is_refused_until_one_is_full();
    return 0;
}
