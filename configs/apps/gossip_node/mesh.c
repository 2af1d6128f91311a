/* See mesh.h. */
#include "mesh.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

void mesh_open(struct mesh *mesh, uint16_t topic) {
    memset(mesh, 0, sizeof *mesh);
    mesh->topic = topic;
}

static void peer_close(struct peer *peer) {
    for (size_t w = 0; w < MESH_UNWANTED_WINDOWS; w++) {
        id_set_free(&peer->unwanted[w]);
    }
}

void mesh_close(struct mesh *mesh) {
    for (size_t i = 0; i < mesh->count; i++) {
        peer_close(&mesh->peers[i]);
    }
    free(mesh->peers);
    free(mesh->chosen);
    memset(mesh, 0, sizeof *mesh);
}

struct peer *mesh_find(struct mesh *mesh, struct endpoint endpoint) {
    for (size_t i = 0; i < mesh->count; i++) {
        if (endpoint_equal(mesh->peers[i].endpoint, endpoint)) {
            return &mesh->peers[i];
        }
    }
    return NULL;
}

static struct peer *add(struct mesh *mesh, struct endpoint endpoint) {
    mesh->peers = memory_grow(mesh->peers, &mesh->capacity, mesh->count + 1, sizeof *mesh->peers);
    mesh->chosen = memory_grow(mesh->chosen, &mesh->chosen_capacity, mesh->count + 1, sizeof *mesh->chosen);
    struct peer *peer = &mesh->peers[mesh->count++];
    *peer = (struct peer){.endpoint = endpoint, .hello_sent_ns = INT64_MIN, .backoff_until_ns = INT64_MIN};
    return peer;
}

void mesh_add_configured(struct mesh *mesh, struct endpoint endpoint, int64_t hello_interval_ns) {
    struct peer *peer = mesh_find(mesh, endpoint);
    if (peer == NULL) {
        peer = add(mesh, endpoint);
    }
    peer->configured = true;
    peer->hello_due_ns = INT64_MIN;
    peer->hello_interval_ns = hello_interval_ns;
}

struct peer *mesh_learn(struct mesh *mesh, struct endpoint endpoint, bool *new) {
    struct peer *peer = mesh_find(mesh, endpoint);
    *new = peer == NULL || !peer->known;
    if (peer == NULL) {
        if (mesh->count >= MESH_MAX_PEERS) {
            return NULL;
        }
        peer = add(mesh, endpoint);
    }
    if (!peer->known) {
        peer->known = true;
        mesh->known_count++;
    }
    return peer;
}

static void leave_mesh(struct mesh *mesh, struct peer *peer) {
    if (peer->in_mesh) {
        peer->in_mesh = false;
        mesh->mesh_count--;
    }
}

void mesh_forget(struct mesh *mesh, struct endpoint endpoint, int64_t hello_due_ns) {
    struct peer *peer = mesh_find(mesh, endpoint);
    if (peer == NULL) {
        return;
    }
    leave_mesh(mesh, peer);
    peer_close(peer);
    if (peer->known) {
        peer->known = false;
        mesh->known_count--;
    }
    if (peer->configured) {
        peer->hello_due_ns = hello_due_ns;
    } else {
        *peer = mesh->peers[--mesh->count];
    }
}

bool mesh_accept_graft(struct mesh *mesh, struct endpoint endpoint, uint32_t degree_high, int64_t now_ns) {
    bool new;
    struct peer *peer = mesh_learn(mesh, endpoint, &new);
    if (peer == NULL) {
        return false;
    }
    if (peer->in_mesh) {
        return true;
    }
    if (mesh->mesh_count >= degree_high || peer->backoff_until_ns > now_ns) {
        return false;
    }
    peer->in_mesh = true;
    mesh->mesh_count++;
    return true;
}

void mesh_remove(struct mesh *mesh, struct endpoint endpoint, int64_t backoff_until_ns) {
    struct peer *peer = mesh_find(mesh, endpoint);
    if (peer != NULL) {
        leave_mesh(mesh, peer);
        peer->backoff_until_ns = backoff_until_ns;
    }
}

void mesh_refuse(struct mesh *mesh, struct endpoint endpoint, uint64_t id) {
    struct peer *peer = mesh_find(mesh, endpoint);
    if (peer != NULL && peer->unwanted[0].count < MESH_MAX_UNWANTED) {
        id_set_add(&peer->unwanted[0], id);
    }
}

bool mesh_refuses(const struct peer *peer, uint64_t id) {
    for (size_t w = 0; w < MESH_UNWANTED_WINDOWS; w++) {
        if (id_set_contains(&peer->unwanted[w], id)) {
            return true;
        }
    }
    return false;
}

void mesh_shift_refusals(struct mesh *mesh) {
    for (size_t i = 0; i < mesh->count; i++) {
        struct id_set *unwanted = mesh->peers[i].unwanted;
        struct id_set oldest = unwanted[MESH_UNWANTED_WINDOWS - 1];
        memmove(&unwanted[1], &unwanted[0], (MESH_UNWANTED_WINDOWS - 1) * sizeof unwanted[0]);
        id_set_clear(&oldest);
        unwanted[0] = oldest;
    }
}

size_t mesh_graft_up(struct mesh *mesh, const struct mesh_parameters *parameters, int64_t now_ns,
                     struct random *random) {
    if (mesh->mesh_count >= parameters->degree_low) {
        return 0;
    }
    size_t candidates = 0;
    for (size_t i = 0; i < mesh->count; i++) {
        const struct peer *peer = &mesh->peers[i];
        if (peer->known && !peer->in_mesh && peer->backoff_until_ns <= now_ns) {
            mesh->chosen[candidates++] = i;
        }
    }
    size_t wanted = parameters->degree - mesh->mesh_count;
    wanted = wanted < candidates ? wanted : candidates;
    random_choose(random, mesh->chosen, candidates, wanted);
    for (size_t i = 0; i < wanted; i++) {
        mesh->peers[mesh->chosen[i]].in_mesh = true;
    }
    mesh->mesh_count += wanted;
    return wanted;
}

size_t mesh_prune_down(struct mesh *mesh, const struct mesh_parameters *parameters, int64_t backoff_until_ns,
                       struct random *random) {
    if (mesh->mesh_count <= parameters->degree_high) {
        return 0;
    }
    size_t members = 0;
    for (size_t i = 0; i < mesh->count; i++) {
        if (mesh->peers[i].in_mesh) {
            mesh->chosen[members++] = i;
        }
    }
    size_t surplus = mesh->mesh_count - parameters->degree;
    random_choose(random, mesh->chosen, members, surplus);
    for (size_t i = 0; i < surplus; i++) {
        struct peer *peer = &mesh->peers[mesh->chosen[i]];
        leave_mesh(mesh, peer);
        peer->backoff_until_ns = backoff_until_ns;
    }
    return surplus;
}

size_t mesh_choose_lazy(struct mesh *mesh, uint32_t degree_lazy, struct random *random) {
    size_t candidates = 0;
    for (size_t i = 0; i < mesh->count; i++) {
        if (mesh->peers[i].known && !mesh->peers[i].in_mesh) {
            mesh->chosen[candidates++] = i;
        }
    }
    size_t wanted = degree_lazy < candidates ? degree_lazy : candidates;
    random_choose(random, mesh->chosen, candidates, wanted);
    return wanted;
}

size_t mesh_hello_due(struct mesh *mesh, int64_t now_ns, int64_t interval_limit_ns) {
    size_t due = 0;
    for (size_t i = 0; i < mesh->count; i++) {
        struct peer *peer = &mesh->peers[i];
        if (!peer->configured || peer->known || peer->hello_due_ns > now_ns) {
            continue;
        }
        mesh->chosen[due++] = i;
        peer->hello_due_ns = now_ns + peer->hello_interval_ns;
        int64_t doubled = peer->hello_interval_ns * 2;
        peer->hello_interval_ns = doubled < interval_limit_ns ? doubled : interval_limit_ns;
    }
    return due;
}
