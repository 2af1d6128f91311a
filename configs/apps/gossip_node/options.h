/*
 * The command line of gossip-node: parsed, checked and resolved before anything is sent. A mistake in it ends
 * the program with a message on stderr and exit code 2.
 */
#ifndef GOSSIP_OPTIONS_H
#define GOSSIP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoint.h"
#include "mesh.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

struct publication {
    uint16_t topic;
    int64_t start_ns; /* since the start of the program */
    int64_t interval_ns;
    uint32_t count;
    uint32_t size;
};

/* Requests of one protocol to peers that are drawn among the known ones. */
struct ask {
    uint16_t protocol;
    int64_t start_ns; /* since the start of the program */
    int64_t interval_ns;
    uint32_t count;
    uint16_t chunks;
    uint16_t size;
    int64_t timeout_ns;
};

/* A protocol that is answered. */
struct service {
    uint16_t protocol;
    bool of_messages;    /* its chunks are the newest messages of a topic */
    uint16_t topic;      /* of these */
    uint32_t chunk_size; /* of others */
};

/* How many chunks of a protocol one peer is given: a bucket of so many tokens, filled up again in a period. */
struct limit {
    uint16_t protocol;
    uint32_t tokens;
    int64_t period_ns;
};

/* Transactions that come to this node from outside. */
struct submission {
    int64_t start_ns; /* since the start of the program */
    int64_t interval_ns;
    uint32_t count;
    uint32_t size;
    bool has_blobs;
};

struct endpoint_list {
    struct endpoint *items;
    size_t count;
    size_t capacity;
};

struct options {
    const char *name;
    struct endpoint listen;
    uint32_t advertise; /* the origin in the ids of our messages */
    uint16_t *topics;
    size_t topic_count;
    size_t topic_capacity;
    struct endpoint_list peers;
    struct publication *publications;
    size_t publication_count;
    size_t publication_capacity;
    struct ask *asks;
    size_t ask_count;
    size_t ask_capacity;
    struct service *services;
    size_t service_count;
    size_t service_capacity;
    struct limit *limits; /* a protocol without one is served without end */
    size_t limit_count;
    size_t limit_capacity;
    uint32_t most_execution_peers; /* 0: no part in transactions */
    struct endpoint_list execution_peers;
    struct submission *submissions;
    size_t submission_count;
    size_t submission_capacity;
    uint32_t largest_pushed;
    int64_t announce_interval_ns;
    int64_t fetch_delay_ns;
    int64_t fetch_timeout_ns;
    int64_t transaction_delay_ns;
    int64_t transaction_life_ns;
    int64_t run_for_ns; /* 0: until a signal ends it */
    int64_t heartbeat_ns;
    int64_t validation_delay_ns;
    uint32_t idontwant_size; /* bytes from which on IDONTWANT is sent; UINT32_MAX: never */
    struct mesh_parameters mesh;
    uint64_t seed;
};

/* Exits by itself: with 2 when the arguments are wrong, with 0 after --help. */
void options_parse(struct options *options, int argument_count, char **arguments);
void options_free(struct options *options);
/* Whether an address of a peer is the node's own. */
bool options_name_ourselves(const struct options *options, struct endpoint peer);
/* The place of a protocol in options->services, or the number of these. */
size_t options_find_service(const struct options *options, uint16_t protocol);

#endif
