/*
 * The behaviour of a gossip node: what it does when a datagram arrives and when time passes. main.c calls it
 * with what the event loop sees; it calls mesh.c and cache.c for decisions, wire.c for bytes, report.c for
 * output, and sends through the socket it was given.
 */
#ifndef GOSSIP_NODE_H
#define GOSSIP_NODE_H

#include "cache.h"
#include "endpoint.h"
#include "execution.h"
#include "limits.h"
#include "mesh.h"
#include "options.h"
#include "random.h"
#include "requests.h"
#include "wire.h"

struct counters {
    uint64_t sent[WIRE_TYPE_LIMIT];     /* datagrams by wire_type */
    uint64_t received[WIRE_TYPE_LIMIT]; /* datagrams by wire_type */
    uint64_t bytes_sent;
    uint64_t bytes_received;
    uint64_t published;
    uint64_t delivered;
    uint64_t corrupt; /* messages whose payload was not what their id says */
    uint64_t duplicates;
    uint64_t ids_requested; /* ids that we asked for by IWANT */
    uint64_t iwant_served;  /* messages that we sent for the IWANT of others */
    uint64_t copies_spared; /* copies that we did not send, for the IDONTWANT of others */
    uint64_t bad_datagrams;
    uint64_t asked;
    uint64_t unasked; /* requests that were due while nobody was known */
    uint64_t answered;
    uint64_t refused;
    uint64_t timeouts;
    uint64_t late;         /* responses, or parts of them, that nobody waited for */
    uint64_t served;       /* requests of others that we answered */
    uint64_t turned_away;  /* those that we refused, for we do not serve the protocol */
    uint64_t limited;      /* those that we refused, for their sender had asked for enough */
    uint64_t other_topics; /* datagrams of topics that we have not subscribed to */
    uint64_t send_failures;
};

/* Messages of a topic that are served when they are asked for: as many as an answer can have. */
struct history {
    uint32_t *sizes; /* a ring of WIRE_MAX_CHUNKS; NULL: this service has none */
    uint64_t count;  /* of all that have come */
};

struct publication_state {
    int64_t due_ns; /* INT64_MAX: no more */
    uint32_t remaining;
};

/* A message that has arrived and is not delivered yet. */
struct pending_message {
    int64_t due_ns;
    struct endpoint from;
    struct stored_message *message;
};

struct node {
    const struct options *options;
    int socket;
    struct random random;
    struct mesh *meshes; /* one for each of options->topics */
    struct seen_cache seen;
    struct id_set requested; /* ids asked for since the last heartbeat */
    struct message_cache messages;
    uint64_t *gossip_ids;
    size_t gossip_capacity;
    struct pending_message *pending; /* in the order of time, from pending_first */
    size_t pending_first;
    size_t pending_end;
    size_t pending_capacity;
    struct publication_state *publications;
    struct requests requests;
    struct limits limits;
    struct history *histories; /* one for each of options->services */
    struct execution execution;
    uint32_t sequence;
    int64_t heartbeat_due_ns;
    struct counters counters;
};

/* Times are of CLOCK_MONOTONIC. node_open introduces the node to its configured peers, node_close says LEAVE.
 */
void node_open(struct node *node, const struct options *options, int socket, int64_t now_ns);
void node_close(struct node *node);

/* Every datagram leaves through this. */
void node_send(struct node *node, const uint8_t *bytes, size_t length, struct endpoint to);

void node_receive(struct node *node, const uint8_t *bytes, size_t length, struct endpoint from, int64_t now_ns);

/* When node_advance has something to do. */
int64_t node_next_time(const struct node *node);
void node_advance(struct node *node, int64_t now_ns);

#endif
