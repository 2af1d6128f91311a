/* The mesh's decisions, stepped by hand: who is known, who is in the mesh, backoffs and the heartbeat. */
#include "mesh.h"

#include "check.h"

static const struct mesh_parameters DEFAULTS = {.degree = 8, .degree_low = 6, .degree_high = 12, .degree_lazy = 6};

static struct endpoint endpoint(uint32_t number) {
    return (struct endpoint){.address = 0x0b000000 + number, .port = 9000};
}

static void learn(struct mesh *mesh, uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        bool new;
        CHECK(mesh_learn(mesh, endpoint(first + i), &new) != NULL && new);
    }
}

static size_t count_mesh(const struct mesh *mesh) {
    size_t count = 0;
    for (size_t i = 0; i < mesh->count; i++) {
        CHECK(!mesh->peers[i].in_mesh || mesh->peers[i].known);
        count += mesh->peers[i].in_mesh;
    }
    CHECK(count == mesh->mesh_count);
    return count;
}

static void a_short_mesh_is_grafted_up_to_d(void) {
    struct random random = {.state = 3};
    struct mesh mesh;
    mesh_open(&mesh, 1);
    learn(&mesh, 1, 5);
    CHECK(mesh_graft_up(&mesh, &DEFAULTS, 0, &random) == 5); /* all there are */
    learn(&mesh, 6, 20);
    CHECK(mesh_graft_up(&mesh, &DEFAULTS, 0, &random) == 3);
    CHECK(count_mesh(&mesh) == 8);
    for (uint32_t i = 0; mesh.mesh_count > 6; i++) {
        mesh_remove(&mesh, endpoint(i), 0);
    }
    CHECK(mesh_graft_up(&mesh, &DEFAULTS, 0, &random) == 0); /* 6 is not below d-low */
    mesh_close(&mesh);
}

static void grafts_are_accepted_below_d_high_only(void) {
    struct mesh mesh;
    mesh_open(&mesh, 1);
    for (uint32_t i = 0; i < 20; i++) {
        CHECK(mesh_accept_graft(&mesh, endpoint(i), DEFAULTS.degree_high, 0) == (i < 12));
    }
    CHECK(mesh_accept_graft(&mesh, endpoint(3), DEFAULTS.degree_high, 0)); /* it is in the mesh already */
    CHECK(count_mesh(&mesh) == 12 && mesh.known_count == 20);
    mesh_close(&mesh);
}

static void a_mesh_above_d_high_is_pruned_to_d(void) {
    struct random random = {.state = 4};
    struct mesh mesh;
    mesh_open(&mesh, 1);
    for (uint32_t i = 0; i < 15; i++) {
        CHECK(mesh_accept_graft(&mesh, endpoint(i), 15, 0));
    }
    CHECK(mesh_prune_down(&mesh, &DEFAULTS, 100, &random) == 7);
    CHECK(count_mesh(&mesh) == 8);
    for (size_t i = 0; i < 7; i++) {
        const struct peer *pruned = &mesh.peers[mesh.chosen[i]];
        CHECK(!pruned->in_mesh && pruned->backoff_until_ns == 100);
    }
    CHECK(mesh_prune_down(&mesh, &DEFAULTS, 100, &random) == 0);
    mesh_close(&mesh);
}

static void nobody_grafts_before_the_backoff_ends(void) {
    struct random random = {.state = 5};
    struct mesh mesh;
    mesh_open(&mesh, 1);
    learn(&mesh, 1, 1);
    CHECK(mesh_graft_up(&mesh, &DEFAULTS, 0, &random) == 1);
    mesh_remove(&mesh, endpoint(1), 60);
    CHECK(mesh_graft_up(&mesh, &DEFAULTS, 59, &random) == 0);
    CHECK(!mesh_accept_graft(&mesh, endpoint(1), 12, 59));
    CHECK(mesh_graft_up(&mesh, &DEFAULTS, 60, &random) == 1);
    mesh_remove(&mesh, endpoint(99), 60); /* a stranger's PRUNE leaves no trace */
    CHECK(mesh.count == 1);
    mesh_close(&mesh);
}

static void lazy_peers_are_known_peers_outside_the_mesh(void) {
    struct random random = {.state = 6};
    struct mesh mesh;
    mesh_open(&mesh, 1);
    learn(&mesh, 1, 12);
    mesh_add_configured(&mesh, endpoint(50), 1000);
    mesh_graft_up(&mesh, &DEFAULTS, 0, &random);
    CHECK(mesh_choose_lazy(&mesh, 6, &random) == 4);
    static unsigned times[20];
    for (int round = 0; round < 4000; round++) {
        CHECK(mesh_choose_lazy(&mesh, 2, &random) == 2);
        CHECK(mesh.chosen[0] != mesh.chosen[1]);
        for (size_t i = 0; i < 2; i++) {
            const struct peer *peer = &mesh.peers[mesh.chosen[i]];
            CHECK(peer->known && !peer->in_mesh);
            times[mesh.chosen[i]]++;
        }
    }
    for (size_t i = 0; i < 13; i++) { /* each of four is expected 2000 times: the bound is ten deviations off */
        CHECK(times[i] == 0 || (times[i] > 1680 && times[i] < 2320));
    }
    mesh_close(&mesh);
}

static void configured_peers_are_greeted_until_they_are_known(void) {
    struct mesh mesh;
    mesh_open(&mesh, 1);
    mesh_add_configured(&mesh, endpoint(1), 1000);
    mesh_add_configured(&mesh, endpoint(1), 1000);
    CHECK(mesh.count == 1 && mesh.known_count == 0);
    static const int64_t times[] = {0, 1000, 3000, 7000, 15000, 25000, 35000}; /* doubling up to the limit */
    size_t next = 0;
    for (int64_t now = 0; now < 40000; now += 500) {
        size_t due = mesh_hello_due(&mesh, now, 10000);
        CHECK(due == (next < sizeof times / sizeof times[0] && now == times[next] ? 1 : 0));
        next += due;
    }
    CHECK(next == sizeof times / sizeof times[0]);
    learn(&mesh, 1, 1);
    CHECK(mesh_hello_due(&mesh, 100000, 10000) == 0);
    mesh_forget(&mesh, endpoint(1), 200000);
    CHECK(mesh.count == 1 && mesh.known_count == 0);
    CHECK(mesh_hello_due(&mesh, 199999, 10000) == 0 && mesh_hello_due(&mesh, 200000, 10000) == 1);
    mesh_close(&mesh);
}

static void peers_that_leave_are_forgotten(void) {
    struct mesh mesh;
    mesh_open(&mesh, 1);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK(mesh_accept_graft(&mesh, endpoint(i), 12, 0));
    }
    mesh_forget(&mesh, endpoint(0), 0);
    mesh_forget(&mesh, endpoint(4), 0);
    mesh_forget(&mesh, endpoint(77), 0);
    CHECK(count_mesh(&mesh) == 3 && mesh.count == 3 && mesh.known_count == 3);
    CHECK(mesh_find(&mesh, endpoint(0)) == NULL && mesh_find(&mesh, endpoint(3)) != NULL);
    mesh_close(&mesh);
}

static void strangers_cannot_fill_the_memory(void) {
    struct mesh mesh;
    bool new;
    mesh_open(&mesh, 1);
    learn(&mesh, 1, MESH_MAX_PEERS);
    CHECK(mesh_learn(&mesh, endpoint(MESH_MAX_PEERS + 1), &new) == NULL);
    CHECK(!mesh_accept_graft(&mesh, endpoint(MESH_MAX_PEERS + 1), 12, 0));
    CHECK(mesh.count == MESH_MAX_PEERS);
    mesh_close(&mesh);
}

static void what_a_peer_refuses_is_remembered_for_some_heartbeats(void) {
    struct mesh mesh;
    mesh_open(&mesh, 1);
    learn(&mesh, 1, 2);
    mesh_refuse(&mesh, endpoint(1), 7);
    mesh_refuse(&mesh, endpoint(9), 7);
    for (int heartbeat = 0; heartbeat < MESH_UNWANTED_WINDOWS; heartbeat++) {
        CHECK(mesh_refuses(mesh_find(&mesh, endpoint(1)), 7));
        CHECK(!mesh_refuses(mesh_find(&mesh, endpoint(1)), 8) && !mesh_refuses(mesh_find(&mesh, endpoint(2)), 7));
        mesh_shift_refusals(&mesh);
    }
    CHECK(!mesh_refuses(mesh_find(&mesh, endpoint(1)), 7));

    for (uint64_t id = 0; id < MESH_MAX_UNWANTED + 10; id++) {
        mesh_refuse(&mesh, endpoint(2), id);
    }
    CHECK(mesh_refuses(mesh_find(&mesh, endpoint(2)), MESH_MAX_UNWANTED - 1));
    CHECK(!mesh_refuses(mesh_find(&mesh, endpoint(2)), MESH_MAX_UNWANTED));
    mesh_forget(&mesh, endpoint(2), 0);
    learn(&mesh, 2, 1);
    CHECK(!mesh_refuses(mesh_find(&mesh, endpoint(2)), 0));
    mesh_close(&mesh);
}

int main(void) {
    a_short_mesh_is_grafted_up_to_d();
    grafts_are_accepted_below_d_high_only();
    a_mesh_above_d_high_is_pruned_to_d();
    nobody_grafts_before_the_backoff_ends();
    lazy_peers_are_known_peers_outside_the_mesh();
    configured_peers_are_greeted_until_they_are_known();
    peers_that_leave_are_forgotten();
    strangers_cannot_fill_the_memory();
    what_a_peer_refuses_is_remembered_for_some_heartbeats();
    return 0;
}
