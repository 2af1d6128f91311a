/* The bandwidth of access links: token buckets with exact, continuous refill.
 *
 * As in Shadow's relays a bucket holds what the link carries in one millisecond and one MTU more, so that a packet
 * never waits on an idle link. A packet larger than the bucket waits until its own tokens have gathered, which is the
 * time that a link of this rate needs for it. Integer arithmetic in bit-nanoseconds: no rounding adds up.
 */
#include "link.h"

#define TOKENS_PER_BYTE (8 * NS_PER_S)
/* Beyond this a link is never the bottleneck, and products would leave 64 bits. */
#define MAX_RATE INT64_C(1000000000000)

void bucket_init(struct token_bucket *bucket, int64_t rate_bps) {
    bucket->rate = KMAX(KMIN(rate_bps, MAX_RATE), INT64_C(1));
    bucket->capacity = bucket->rate * NS_PER_MS + (int64_t)MTU * TOKENS_PER_BYTE;
    bucket->tokens = bucket->capacity;
    bucket->updated = 0;
    bucket->waiting = false;
}

int64_t bucket_take(struct token_bucket *bucket, int64_t now, uint32_t length) {
    int64_t cost = (int64_t)length * TOKENS_PER_BYTE;
    int64_t limit = bucket->waiting ? KMAX(bucket->capacity, cost) : bucket->capacity;
    int64_t elapsed = now - bucket->updated;
    if (elapsed > (limit - bucket->tokens) / bucket->rate)
        bucket->tokens = limit;
    else
        bucket->tokens += elapsed * bucket->rate;
    bucket->updated = now;
    bucket->waiting = bucket->tokens < cost;
    if (bucket->waiting)
        return now + (cost - bucket->tokens + bucket->rate - 1) / bucket->rate;
    bucket->tokens -= cost;
    return now;
}
