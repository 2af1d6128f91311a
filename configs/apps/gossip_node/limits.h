/*
 * How much a node lets each peer ask for: a bucket of tokens for each peer and protocol that has a limit, by the
 * generic cell rate algorithm, as docs/models.md has it for identities (Requests and responses). node.c asks it before
 * it answers.
 */
#ifndef GOSSIP_LIMITS_H
#define GOSSIP_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoint.h"
#include "options.h"

/* Peers of one protocol whose buckets are not full at one time; others are refused meanwhile. */
#define LIMITS_MAX_PEERS 4096

struct bucket {
    struct endpoint peer;
    int64_t full_ns; /* when it has all its tokens again */
};

/* Those of one of options->limits that were not full when they were last looked at. */
struct buckets {
    struct bucket *items;
    size_t count;
    size_t capacity;
};

struct limits {
    const struct options *options;
    struct buckets *buckets; /* one for each of options->limits */
};

void limits_open(struct limits *limits, const struct options *options);
void limits_close(struct limits *limits);

/* Whether a peer may have so many chunks of a protocol now; takes a token for each, and one at least, if so. */
bool limits_admit(struct limits *limits, uint16_t protocol, struct endpoint peer, uint16_t chunks, int64_t now_ns);

#endif
