/* See node.h. Comments name the rules of docs/gossip-datagram.md. */
#include "node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "memory.h"
#include "report.h"

#define SEEN_LIFETIME_NS (120 * NS_PER_S)
#define HELLO_INTERVAL_LIMIT_NS (10 * NS_PER_S)
#define HELLO_REPEAT_NS (5 * NS_PER_S)
#define BACKOFF_NS (MESH_BACKOFF_MS * NS_PER_MS)

/* As gossipsub's max_ihave_length: what one heartbeat interval of announcements can make us ask for. */
#define MAX_REQUESTS_PER_HEARTBEAT 5000

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* Sending */

void node_send(struct node *node, const uint8_t *bytes, size_t length, struct endpoint to) {
    struct sockaddr_storage name;
    int family = endpoint_is_ipv4(node->options->listen) ? AF_INET : AF_INET6; /* as main.c opened it */
    socklen_t name_length = endpoint_name(to, family, &name);
    ssize_t sent = sendto(node->socket, bytes, length, 0, (const struct sockaddr *)&name, name_length);
    if (sent < 0) {
        node->counters.send_failures++; /* a full queue or no route: to the protocol it is loss */
        return;
    }
    node->counters.sent[bytes[3]]++;
    node->counters.bytes_sent += length;
}

static void send_plain(struct node *node, enum wire_type type, uint16_t topic, struct endpoint to) {
    uint8_t bytes[WIRE_HEADER_SIZE];
    node_send(node, bytes, wire_encode_plain(bytes, type, topic), to);
}

static void send_prune(struct node *node, uint16_t topic, struct endpoint to) {
    uint8_t bytes[WIRE_HEADER_SIZE + 4];
    node_send(node, bytes, wire_encode_prune(bytes, topic, MESH_BACKOFF_MS), to);
}

static void send_hello(struct node *node, uint16_t topic, struct peer *peer, int64_t now_ns) {
    peer->hello_sent_ns = now_ns;
    send_plain(node, WIRE_HELLO, topic, peer->endpoint);
}

static void send_ids(struct node *node, enum wire_type type, uint16_t topic, const uint64_t *ids, size_t count,
                     struct endpoint to) {
    uint8_t bytes[WIRE_HEADER_SIZE + WIRE_MAX_IDS * 8];
    for (size_t sent = 0; sent < count; sent += WIRE_MAX_IDS) {
        size_t part = count - sent < WIRE_MAX_IDS ? count - sent : WIRE_MAX_IDS;
        node_send(node, bytes, wire_encode_ids(bytes, type, topic, ids + sent, (uint16_t)part), to);
    }
}

static size_t encode_stored(uint8_t *bytes, const struct stored_message *stored) {
    struct wire_message message = {
        .id = stored->id,
        .origin = stored->origin,
        .publish_time_ns = stored->publish_time_ns,
        .hops = stored->hops,
        .size = stored->size,
        .payload = stored->payload,
    };
    return wire_encode_message(bytes, stored->topic, &message);
}

/* Messages */

static struct mesh *find_mesh(const struct node *node, uint16_t topic) {
    for (size_t i = 0; i < node->options->topic_count; i++) {
        if (node->meshes[i].topic == topic) {
            return &node->meshes[i];
        }
    }
    return NULL;
}

/* What requests are answered with from now on. */
static void keep_for_requests(struct node *node, const struct stored_message *stored) {
    for (size_t i = 0; i < node->options->service_count; i++) {
        struct history *history = &node->histories[i];
        if (history->sizes != NULL && node->options->services[i].topic == stored->topic) {
            history->sizes[history->count++ % WIRE_MAX_CHUNKS] = stored->size;
        }
    }
}

static void publish(struct node *node, const struct publication *publication, int64_t now_ns) {
    struct stored_message *stored = stored_message_new(publication->size);
    stored->origin = node->options->advertise;
    stored->id = (uint64_t)stored->origin << 32 | ++node->sequence;
    stored->publish_time_ns = report_time_ns();
    stored->topic = publication->topic;
    wire_fill_payload(stored->payload, stored->id, stored->size);
    seen_cache_add(&node->seen, stored->id, now_ns);
    report_publish(stored);
    keep_for_requests(node, stored);
    node->counters.published++;

    uint8_t bytes[WIRE_MAX_DATAGRAM];
    size_t length = encode_stored(bytes, stored);
    const struct mesh *mesh = find_mesh(node, stored->topic);
    for (size_t i = 0; i < mesh->count; i++) { /* flood publish */
        if (mesh->peers[i].known) {
            node_send(node, bytes, length, mesh->peers[i].endpoint);
        }
    }
    message_cache_put(&node->messages, stored);
}

/* Whether a peer is one that a message is to be passed on to, as far as the message itself tells. */
static bool needs(const struct peer *peer, const struct stored_message *stored, struct endpoint from) {
    return peer->in_mesh && peer->endpoint.address != stored->origin && !endpoint_equal(peer->endpoint, from);
}

static void forward(struct node *node, const struct stored_message *stored, struct endpoint from) {
    uint8_t bytes[WIRE_MAX_DATAGRAM];
    size_t length = encode_stored(bytes, stored);
    const struct mesh *mesh = find_mesh(node, stored->topic);
    for (size_t i = 0; i < mesh->count; i++) {
        const struct peer *peer = &mesh->peers[i];
        if (!needs(peer, stored, from)) {
            continue;
        }
        if (mesh_refuses(peer, stored->id)) {
            node->counters.copies_spared++;
        } else {
            node_send(node, bytes, length, peer->endpoint);
        }
    }
}

/* Tells the mesh that it need not send a message that has just come. */
static void refuse_copies(struct node *node, const struct stored_message *stored, struct endpoint from) {
    const struct mesh *mesh = find_mesh(node, stored->topic);
    for (size_t i = 0; i < mesh->count; i++) {
        if (needs(&mesh->peers[i], stored, from)) {
            send_ids(node, WIRE_IDONTWANT, stored->topic, &stored->id, 1, mesh->peers[i].endpoint);
        }
    }
}

/* Passes a message on that is valid, and takes it over. */
static void relay(struct node *node, struct stored_message *stored, struct endpoint from) {
    if (stored->hops < UINT16_MAX) {
        stored->hops++;
    }
    forward(node, stored, from);
    keep_for_requests(node, stored);
    message_cache_put(&node->messages, stored);
}

static void relay_later(struct node *node, struct stored_message *stored, struct endpoint from, int64_t due_ns) {
    if (node->pending_end == node->pending_capacity && node->pending_first > node->pending_end / 2) {
        node->pending_end -= node->pending_first;
        memmove(node->pending, node->pending + node->pending_first, node->pending_end * sizeof *node->pending);
        node->pending_first = 0;
    }
    node->pending = memory_grow(node->pending, &node->pending_capacity, node->pending_end + 1, sizeof *node->pending);
    node->pending[node->pending_end++] = (struct pending_message){.due_ns = due_ns, .from = from, .message = stored};
}

static void receive_message(struct node *node, uint16_t topic, const struct wire_message *message, struct endpoint from,
                            int64_t now_ns) {
    if (seen_cache_contains(&node->seen, message->id)) {
        node->counters.duplicates++;
        return;
    }
    struct stored_message *stored = stored_message_new(message->size);
    stored->id = message->id;
    stored->origin = message->origin;
    stored->publish_time_ns = message->publish_time_ns;
    stored->topic = topic;
    stored->hops = message->hops;
    memcpy(stored->payload, message->payload, message->size);
    if (!wire_payload_matches(message)) {
        /* Not seen, so that a good copy can still come; not forwarded, so that the damage stays here. */
        node->counters.corrupt++;
        report_deliver(stored, from, false);
        free(stored);
        return;
    }
    seen_cache_add(&node->seen, message->id, now_ns);
    report_deliver(stored, from, true);
    node->counters.delivered++;
    if (message->size >= node->options->idontwant_size) {
        refuse_copies(node, stored, from);
    }
    if (node->options->validation_delay_ns > 0) {
        relay_later(node, stored, from, now_ns + node->options->validation_delay_ns);
    } else {
        relay(node, stored, from);
    }
}

/* Control */

static void receive_hello(struct node *node, struct mesh *mesh, struct endpoint from, int64_t now_ns) {
    bool new;
    struct peer *peer = mesh_learn(mesh, from, &new);
    if (peer == NULL) {
        return;
    }
    /* A peer that we know and that asks again may have lost our answer, or have been restarted. */
    bool answer_lost = peer->hello_sent_ns == INT64_MIN || now_ns - peer->hello_sent_ns >= HELLO_REPEAT_NS;
    if (new || answer_lost) {
        send_hello(node, mesh->topic, peer, now_ns);
    }
}

static void receive_graft(struct node *node, struct mesh *mesh, struct endpoint from, int64_t now_ns) {
    if (!mesh_accept_graft(mesh, from, node->options->mesh.degree_high, now_ns)) {
        mesh_remove(mesh, from, now_ns + BACKOFF_NS);
        send_prune(node, mesh->topic, from);
    }
}

static void receive_ihave(struct node *node, struct mesh *mesh, const struct wire_datagram *datagram,
                          struct endpoint from) {
    bool new;
    mesh_learn(mesh, from, &new);
    uint64_t wanted[WIRE_MAX_IDS];
    size_t count = 0;
    for (size_t i = 0; i < datagram->count; i++) {
        uint64_t id = wire_id(datagram, i);
        if (!seen_cache_contains(&node->seen, id) && node->requested.count < MAX_REQUESTS_PER_HEARTBEAT &&
            id_set_add(&node->requested, id)) {
            wanted[count++] = id;
        }
    }
    node->counters.ids_requested += count;
    send_ids(node, WIRE_IWANT, mesh->topic, wanted, count, from);
}

static void receive_iwant(struct node *node, const struct wire_datagram *datagram, struct endpoint from) {
    uint8_t bytes[WIRE_MAX_DATAGRAM];
    for (size_t i = 0; i < datagram->count; i++) {
        const struct stored_message *stored = message_cache_find(&node->messages, wire_id(datagram, i));
        if (stored != NULL && stored->topic == datagram->topic) {
            node->counters.iwant_served++;
            node_send(node, bytes, encode_stored(bytes, stored), from);
        }
    }
}

static void receive_idontwant(struct mesh *mesh, const struct wire_datagram *datagram, struct endpoint from) {
    for (size_t i = 0; i < datagram->count; i++) {
        mesh_refuse(mesh, from, wire_id(datagram, i));
    }
}

/* Requests */

static const struct peer *random_peer(struct node *node) {
    size_t known = 0;
    for (size_t i = 0; i < node->options->topic_count; i++) {
        known += node->meshes[i].known_count;
    }
    if (known == 0) {
        return NULL;
    }
    /* Who is a peer on several topics is as many times as likely. */
    size_t chosen = random_below(&node->random, known);
    for (size_t i = 0; i < node->options->topic_count; i++) {
        const struct mesh *mesh = &node->meshes[i];
        for (size_t p = 0; p < mesh->count; p++) {
            if (mesh->peers[p].known && chosen-- == 0) {
                return &mesh->peers[p];
            }
        }
    }
    return NULL;
}

static void ask(struct node *node, const struct ask *ask, int64_t now_ns) {
    const struct peer *peer = random_peer(node);
    if (peer == NULL) {
        node->counters.unasked++;
        return;
    }
    uint8_t bytes[WIRE_MAX_DATAGRAM];
    struct wire_request request = {
        .number = requests_begin(&node->requests, ask, peer->endpoint, now_ns),
        .size = ask->size,
    };
    node->counters.asked++;
    node_send(node, bytes, wire_encode_request(bytes, ask->protocol, ask->chunks, &request), peer->endpoint);
}

/* How many bytes the newest so many messages have; no more than there are. */
static uint32_t newest(const struct history *history, uint16_t *chunks) {
    uint32_t bytes = 0;
    if (*chunks > history->count) {
        *chunks = (uint16_t)history->count;
    }
    for (uint64_t i = 1; i <= *chunks; i++) {
        bytes += history->sizes[(history->count - i) % WIRE_MAX_CHUNKS];
    }
    return bytes;
}

/* What is sent for a request: how many bytes in how many chunks. */
struct answer {
    enum wire_status status;
    uint16_t chunks;
    uint32_t size;
};

static struct answer answer_to(struct node *node, const struct wire_datagram *datagram, struct endpoint from,
                               int64_t now_ns) {
    static const struct answer refusal = {.status = WIRE_STATUS_REFUSED};
    size_t place = options_find_service(node->options, datagram->topic);
    if (place == node->options->service_count) {
        node->counters.turned_away++;
        return refusal;
    }
    if (!limits_admit(&node->limits, datagram->topic, from, datagram->count, now_ns)) {
        node->counters.limited++;
        return refusal;
    }
    node->counters.served++;
    const struct service *service = &node->options->services[place];
    struct answer answer = {.status = WIRE_STATUS_OK, .chunks = datagram->count};
    answer.size =
        service->of_messages ? newest(&node->histories[place], &answer.chunks) : service->chunk_size * answer.chunks;
    return answer;
}

static void receive_request(struct node *node, const struct wire_datagram *datagram, struct endpoint from,
                            int64_t now_ns) {
    uint8_t bytes[WIRE_MAX_DATAGRAM];
    uint8_t payload[WIRE_MAX_PAYLOAD];
    struct answer answer = answer_to(node, datagram, from, now_ns);
    struct wire_response response = {
        .number = datagram->request.number,
        .attempt = datagram->request.attempt,
        .status = answer.status,
        .parts = (uint16_t)wire_parts(answer.size),
        .payload = payload,
    };
    for (; response.part < response.parts; response.part++) {
        response.size = wire_part_size(answer.size, response.part);
        wire_fill_response(payload, &response, from.address);
        node_send(node, bytes, wire_encode_response(bytes, datagram->topic, answer.chunks, &response), from);
    }
}

static void receive_response(struct node *node, const struct wire_datagram *datagram, struct endpoint from,
                             int64_t now_ns) {
    struct open_request done;
    switch (requests_receive(&node->requests, datagram, from, &done)) {
    case REQUESTS_UNKNOWN:
        node->counters.late++;
        return;
    case REQUESTS_PART:
        return;
    case REQUESTS_COMPLETE:
        break;
    }
    bool refused = datagram->response.status != WIRE_STATUS_OK;
    if (refused) {
        node->counters.refused++;
    } else {
        node->counters.answered++;
    }
    report_response(&done, refused ? "refused" : "answered", datagram->count, now_ns);
}

static void request_due(struct node *node, int64_t now_ns) {
    struct open_request over;
    while (requests_expire(&node->requests, &over, now_ns)) {
        node->counters.timeouts++;
        report_response(&over, "timeout", 0, now_ns);
    }
    const struct ask *due;
    while ((due = requests_due(&node->requests, now_ns)) != NULL) {
        ask(node, due, now_ns);
    }
}

void node_receive(struct node *node, const uint8_t *bytes, size_t length, struct endpoint from, int64_t now_ns) {
    struct wire_datagram datagram;
    node->counters.bytes_received += length;
    if (wire_decode(bytes, length, &datagram) != WIRE_OK) {
        node->counters.bad_datagrams++;
        return;
    }
    node->counters.received[datagram.type]++;
    if (datagram.type == WIRE_REQUEST) {
        receive_request(node, &datagram, from, now_ns);
        return;
    }
    if (datagram.type == WIRE_RESPONSE) {
        receive_response(node, &datagram, from, now_ns);
        return;
    }
    if (datagram.type >= WIRE_TRANSACTION) {
        execution_receive(node, &datagram, from, now_ns);
        return;
    }
    struct mesh *mesh = find_mesh(node, datagram.topic);
    if (mesh == NULL) {
        node->counters.other_topics++;
        if (datagram.type == WIRE_GRAFT) {
            send_prune(node, datagram.topic, from);
        }
        return;
    }
    switch (datagram.type) {
    case WIRE_HELLO:
        receive_hello(node, mesh, from, now_ns);
        return;
    case WIRE_LEAVE:
        mesh_forget(mesh, from, now_ns + HELLO_INTERVAL_LIMIT_NS);
        return;
    case WIRE_GRAFT:
        receive_graft(node, mesh, from, now_ns);
        return;
    case WIRE_PRUNE:
        mesh_remove(mesh, from, now_ns + (int64_t)datagram.backoff_ms * NS_PER_MS);
        return;
    case WIRE_IHAVE:
        receive_ihave(node, mesh, &datagram, from);
        return;
    case WIRE_IWANT:
        receive_iwant(node, &datagram, from);
        return;
    case WIRE_MESSAGE:
        receive_message(node, datagram.topic, &datagram.message, from, now_ns);
        return;
    case WIRE_IDONTWANT:
        receive_idontwant(mesh, &datagram, from);
        return;
    case WIRE_REQUEST:
    case WIRE_RESPONSE:
    case WIRE_TRANSACTION:
    case WIRE_ANNOUNCEMENT:
    case WIRE_ASK:
    case WIRE_POOLED:
    case WIRE_GREETING:
        return; /* no matter of a mesh: taken above */
    }
}

/* Time */

static void greet(struct node *node, struct mesh *mesh, int64_t now_ns) {
    size_t due = mesh_hello_due(mesh, now_ns, HELLO_INTERVAL_LIMIT_NS);
    for (size_t i = 0; i < due; i++) {
        send_hello(node, mesh->topic, &mesh->peers[mesh->chosen[i]], now_ns);
    }
}

static void balance(struct node *node, struct mesh *mesh, int64_t now_ns) {
    const struct mesh_parameters *parameters = &node->options->mesh;
    size_t pruned = mesh_prune_down(mesh, parameters, now_ns + BACKOFF_NS, &node->random);
    for (size_t i = 0; i < pruned; i++) {
        send_prune(node, mesh->topic, mesh->peers[mesh->chosen[i]].endpoint);
    }
    size_t grafted = mesh_graft_up(mesh, parameters, now_ns, &node->random);
    for (size_t i = 0; i < grafted; i++) {
        send_plain(node, WIRE_GRAFT, mesh->topic, mesh->peers[mesh->chosen[i]].endpoint);
    }
}

static void announce(struct node *node, struct mesh *mesh) {
    size_t room = message_cache_gossip_count(&node->messages);
    node->gossip_ids = memory_grow(node->gossip_ids, &node->gossip_capacity, room, sizeof *node->gossip_ids);
    size_t count = message_cache_gossip_ids(&node->messages, mesh->topic, node->gossip_ids, room);
    if (count == 0) {
        return;
    }
    size_t chosen = mesh_choose_lazy(mesh, node->options->mesh.degree_lazy, &node->random);
    for (size_t i = 0; i < chosen; i++) {
        send_ids(node, WIRE_IHAVE, mesh->topic, node->gossip_ids, count, mesh->peers[mesh->chosen[i]].endpoint);
    }
}

static void heartbeat(struct node *node, int64_t now_ns) {
    id_set_clear(&node->requested);
    seen_cache_expire(&node->seen, now_ns);
    for (size_t i = 0; i < node->options->topic_count; i++) {
        greet(node, &node->meshes[i], now_ns);
        balance(node, &node->meshes[i], now_ns);
        announce(node, &node->meshes[i]);
        mesh_shift_refusals(&node->meshes[i]);
    }
    message_cache_shift(&node->messages);
    node->heartbeat_due_ns += node->options->heartbeat_ns;
    if (node->heartbeat_due_ns <= now_ns) { /* the machine was held up: no burst of heartbeats to catch up */
        node->heartbeat_due_ns = now_ns + node->options->heartbeat_ns;
    }
}

static void publish_due(struct node *node, size_t index, int64_t now_ns) {
    const struct publication *publication = &node->options->publications[index];
    struct publication_state *state = &node->publications[index];
    while (state->due_ns <= now_ns) {
        publish(node, publication, now_ns);
        state->remaining--;
        state->due_ns = state->remaining > 0 ? state->due_ns + publication->interval_ns : INT64_MAX;
    }
}

int64_t node_next_time(const struct node *node) {
    int64_t next = earlier(node->heartbeat_due_ns, requests_next_time(&node->requests));
    next = earlier(next, execution_next_time(node));
    if (node->pending_first < node->pending_end) {
        next = earlier(next, node->pending[node->pending_first].due_ns);
    }
    for (size_t i = 0; i < node->options->publication_count; i++) {
        next = earlier(next, node->publications[i].due_ns);
    }
    return next;
}

void node_advance(struct node *node, int64_t now_ns) {
    while (node->pending_first < node->pending_end && node->pending[node->pending_first].due_ns <= now_ns) {
        struct pending_message *pending = &node->pending[node->pending_first++];
        relay(node, pending->message, pending->from);
    }
    for (size_t i = 0; i < node->options->publication_count; i++) {
        publish_due(node, i, now_ns);
    }
    request_due(node, now_ns);
    execution_advance(node, now_ns);
    if (node->heartbeat_due_ns <= now_ns) {
        heartbeat(node, now_ns);
    }
}

/* Life */

static void open_mesh(struct node *node, struct mesh *mesh, uint16_t topic, int64_t now_ns) {
    const struct options *options = node->options;
    mesh_open(mesh, topic);
    for (size_t i = 0; i < options->peers.count; i++) {
        if (!options_name_ourselves(options, options->peers.items[i])) { /* one list of peers may serve all nodes */
            mesh_add_configured(mesh, options->peers.items[i], options->heartbeat_ns);
        }
    }
    greet(node, mesh, now_ns);
}

void node_open(struct node *node, const struct options *options, int socket, int64_t now_ns) {
    *node = (struct node){.options = options, .socket = socket, .random = {.state = options->seed}};
    seen_cache_open(&node->seen, SEEN_LIFETIME_NS);
    node->publications = memory_allocate(options->publication_count * sizeof *node->publications);
    for (size_t i = 0; i < options->publication_count; i++) {
        node->publications[i] = (struct publication_state){
            .due_ns = now_ns + options->publications[i].start_ns,
            .remaining = options->publications[i].count,
        };
    }
    requests_open(&node->requests, options, now_ns);
    limits_open(&node->limits, options);
    node->histories = memory_allocate(options->service_count * sizeof *node->histories);
    for (size_t i = 0; i < options->service_count; i++) {
        if (options->services[i].of_messages) {
            node->histories[i].sizes = memory_allocate(WIRE_MAX_CHUNKS * sizeof(uint32_t));
        }
    }
    node->meshes = memory_allocate(options->topic_count * sizeof *node->meshes);
    for (size_t i = 0; i < options->topic_count; i++) {
        open_mesh(node, &node->meshes[i], options->topics[i], now_ns);
    }
    execution_open(node, now_ns);
    /* A random phase, so that nodes that start together do not all speak at once. */
    uint64_t phase = random_below(&node->random, (uint64_t)options->heartbeat_ns);
    node->heartbeat_due_ns = now_ns + (int64_t)phase;
}

void node_close(struct node *node) {
    for (size_t i = 0; i < node->options->topic_count; i++) {
        struct mesh *mesh = &node->meshes[i];
        for (size_t p = 0; p < mesh->count; p++) {
            if (mesh->peers[p].known) {
                send_plain(node, WIRE_LEAVE, mesh->topic, mesh->peers[p].endpoint);
            }
        }
    }
    execution_leave(node);
    report_summary(node);
    for (size_t i = 0; i < node->options->topic_count; i++) {
        mesh_close(&node->meshes[i]);
    }
    for (size_t i = node->pending_first; i < node->pending_end; i++) {
        free(node->pending[i].message);
    }
    for (size_t i = 0; i < node->options->service_count; i++) {
        free(node->histories[i].sizes);
    }
    free(node->histories);
    execution_close(node);
    requests_close(&node->requests);
    limits_close(&node->limits);
    seen_cache_close(&node->seen);
    id_set_free(&node->requested);
    message_cache_close(&node->messages);
    free(node->meshes);
    free(node->gossip_ids);
    free(node->pending);
    free(node->publications);
}
