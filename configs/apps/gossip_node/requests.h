/*
 * What a node asks its peers for, besides gossip, and what it waits for: when the next request is due, which are
 * open, and which datagrams complete them. node.c calls it and sends what it decides; it knows no sockets.
 */
#ifndef GOSSIP_REQUESTS_H
#define GOSSIP_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoint.h"
#include "options.h"
#include "wire.h"

struct open_request {
    const struct ask *ask;
    uint32_t number;
    uint16_t next_part;
    uint32_t bytes;
    bool intact; /* every byte so far is the right one */
    struct endpoint to;
    int64_t asked_ns;
    int64_t deadline_ns;
};

struct ask_state {
    int64_t due_ns; /* INT64_MAX: no more */
    uint32_t remaining;
};

struct requests {
    const struct options *options;
    struct ask_state *asks; /* one for each of options->asks */
    struct open_request *open;
    size_t open_count;
    size_t open_capacity;
    uint32_t number;
};

enum requests_outcome {
    REQUESTS_UNKNOWN, /* nobody waits for it */
    REQUESTS_PART,    /* more parts are to come */
    REQUESTS_COMPLETE,
};

void requests_open(struct requests *requests, const struct options *options, int64_t now_ns);
void requests_close(struct requests *requests);

/* INT64_MAX if nothing is to come. */
int64_t requests_next_time(const struct requests *requests);

/* The next of options->asks that is due, or NULL; the one after it is then an interval later. */
const struct ask *requests_due(struct requests *requests, int64_t now_ns);
/* Opens a request to a peer; returns its number. */
uint32_t requests_begin(struct requests *requests, const struct ask *ask, struct endpoint to, int64_t now_ns);
/* Takes an open request whose time is over: true, and it is in `*over`. */
bool requests_expire(struct requests *requests, struct open_request *over, int64_t now_ns);
/* Takes a RESPONSE. `*done` is the request that it completes; it is not open any more. */
enum requests_outcome requests_receive(struct requests *requests, const struct wire_datagram *datagram,
                                       struct endpoint from, struct open_request *done);

#endif
