/*
 * The peers of one topic and which of them are in this node's mesh: the state of gossipsub v1.1's overlay,
 * without sockets or clocks of its own. node.c feeds it what arrives and sends what it decides.
 *
 * A peer is *known* once it has shown that it is subscribed; a *configured* peer is one that the user named,
 * which is asked with HELLO until it is known.
 */
#ifndef GOSSIP_MESH_H
#define GOSSIP_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache.h"
#include "endpoint.h"
#include "random.h"

/* Bounds what strangers can make a node remember. */
#define MESH_MAX_PEERS 4096

#define MESH_BACKOFF_MS 60000

/* Heartbeat intervals for which an IDONTWANT holds, and ids that one peer can make us remember in one of them. */
#define MESH_UNWANTED_WINDOWS 3
#define MESH_MAX_UNWANTED 1000

struct mesh_parameters {
    uint32_t degree;
    uint32_t degree_low;
    uint32_t degree_high;
    uint32_t degree_lazy;
};

struct peer {
    struct endpoint endpoint;
    bool configured;
    bool known;
    bool in_mesh;
    int64_t backoff_until_ns;
    int64_t hello_sent_ns; /* INT64_MIN before the first */
    int64_t hello_due_ns;
    int64_t hello_interval_ns;
    struct id_set unwanted[MESH_UNWANTED_WINDOWS]; /* ids of its IDONTWANTs, the newest window first */
};

struct mesh {
    uint16_t topic;
    struct peer *peers;
    size_t count;
    size_t capacity;
    size_t known_count;
    size_t mesh_count;
    size_t *chosen; /* room for one index a peer: what the functions below choose */
    size_t chosen_capacity;
};

void mesh_open(struct mesh *mesh, uint16_t topic);
void mesh_close(struct mesh *mesh);

/* NULL if there is none. Pointers to peers hold until the next peer is added or forgotten. */
struct peer *mesh_find(struct mesh *mesh, struct endpoint endpoint);
void mesh_add_configured(struct mesh *mesh, struct endpoint endpoint, int64_t hello_interval_ns);

/* The endpoint is subscribed. Returns its peer, or NULL if there are too many; `*new` says if it was unknown.
 */
struct peer *mesh_learn(struct mesh *mesh, struct endpoint endpoint, bool *new);
/* It left the topic, so it is forgotten; a configured peer is asked again at `hello_due_ns`. */
void mesh_forget(struct mesh *mesh, struct endpoint endpoint, int64_t hello_due_ns);

/* It wants us in its mesh: true if it is in ours now, false if it is to be told PRUNE. */
bool mesh_accept_graft(struct mesh *mesh, struct endpoint endpoint, uint32_t degree_high, int64_t now_ns);
/* It removed us from its mesh, or we refused it: neither side grafts before `backoff_until_ns`. */
void mesh_remove(struct mesh *mesh, struct endpoint endpoint, int64_t backoff_until_ns);

/* The endpoint need not be sent a message. Strangers are not remembered. */
void mesh_refuse(struct mesh *mesh, struct endpoint endpoint, uint64_t id);
bool mesh_refuses(const struct peer *peer, uint64_t id);
/* A heartbeat: begins a new window of what peers need not be sent, and forgets the oldest. */
void mesh_shift_refusals(struct mesh *mesh);

/*
 * The decisions of a heartbeat. Each returns how many peers it chose; chosen[0 .. n) are their indices.
 * The first two have already changed the mesh accordingly.
 */
size_t mesh_graft_up(struct mesh *mesh, const struct mesh_parameters *parameters, int64_t now_ns,
                     struct random *random);
size_t mesh_prune_down(struct mesh *mesh, const struct mesh_parameters *parameters, int64_t backoff_until_ns,
                       struct random *random);
size_t mesh_choose_lazy(struct mesh *mesh, uint32_t degree_lazy, struct random *random);

/* Configured peers to say HELLO to, with the next time already set (the interval doubles up to the limit). */
size_t mesh_hello_due(struct mesh *mesh, int64_t now_ns, int64_t interval_limit_ns);

#endif
