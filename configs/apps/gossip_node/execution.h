/*
 * A node as an execution client: its execution peers and the transactions that it submits, pushes, announces, asks
 * for and serves (docs/gossip-datagram.md, datagrams 11 to 15). node.c calls it with what arrives and when time passes;
 * it calls pool.c for what is known, and sends through the node.
 */
#ifndef GOSSIP_EXECUTION_H
#define GOSSIP_EXECUTION_H

#include "options.h"
#include "pool.h"
#include "wire.h"

struct node;

struct execution_counters {
    uint64_t submitted;
    uint64_t got_pushed; /* transactions that have come, pushed or in answer */
    uint64_t got_fetched;
    uint64_t duplicates;
    uint64_t pushed; /* transactions, by peers */
    uint64_t announced;
    uint64_t asked;
    uint64_t timeouts;
    uint64_t served; /* answers to the hashes that others asked for */
    uint64_t unserved;
    uint64_t bad;       /* what is said of transactions that cannot be right */
    uint64_t late;      /* of transactions whose life is over */
    uint64_t strangers; /* datagrams of nodes that are no peers */
    uint64_t refused;   /* greetings that were answered with no */
};

/* One that the user named: it is greeted until it is a peer. */
struct execution_candidate {
    struct endpoint endpoint;
    int64_t due_ns;
    int64_t interval_ns;
};

struct execution_peer {
    bool met;
    struct endpoint endpoint;
    uint8_t (*waiting)[WIRE_HASH_SIZE]; /* to be announced to it */
    size_t waiting_count;
};

/* A transaction of several parts that is coming. */
struct execution_stream {
    size_t peer;
    enum wire_type type;
    const struct transaction *transaction;
    uint16_t next_part;
};

struct submission_state {
    int64_t due_ns; /* INT64_MAX: no more */
    uint32_t remaining;
};

struct execution {
    struct pool pool;
    struct execution_peer *peers; /* options->most_execution_peers places */
    size_t peer_count;            /* places that are taken */
    struct execution_candidate *candidates;
    size_t candidate_count;
    struct execution_stream *streams;
    size_t stream_count;
    size_t stream_capacity;
    struct submission_state *submissions;
    size_t *chosen;        /* room for one index a peer */
    int64_t announcing_ns; /* when waiting hashes go; INT64_MAX: there are none */
    uint32_t sequence;
    struct execution_counters counters;
};

void execution_open(struct node *node, int64_t now_ns);
void execution_close(struct node *node);
/* Takes leave of all peers. */
void execution_leave(struct node *node);

/* A datagram of the types 11 to 15. */
void execution_receive(struct node *node, const struct wire_datagram *datagram, struct endpoint from, int64_t now_ns);

/* When execution_advance has something to do. */
int64_t execution_next_time(const struct node *node);
void execution_advance(struct node *node, int64_t now_ns);

#endif
