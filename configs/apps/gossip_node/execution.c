/* See execution.h. Comments name the rules of docs/gossip-datagram.md. */
#include "execution.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "node.h"
#include "report.h"

#define GREETING_INTERVAL_LIMIT_NS (10 * NS_PER_S)

/* Bounds what peers can make a node remember of parts; the oldest is forgotten. */
#define MAX_STREAMS 1024

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* Peers */

/* Its place, or the number of places. */
static size_t find_peer(const struct node *node, struct endpoint endpoint) {
    const struct execution *execution = &node->execution;
    size_t place = 0;
    while (place < node->options->most_execution_peers &&
           !(execution->peers[place].met && endpoint_equal(execution->peers[place].endpoint, endpoint))) {
        place++;
    }
    return place;
}

static struct execution_candidate *find_candidate(const struct node *node, struct endpoint endpoint) {
    for (size_t i = 0; i < node->execution.candidate_count; i++) {
        if (endpoint_equal(node->execution.candidates[i].endpoint, endpoint)) {
            return &node->execution.candidates[i];
        }
    }
    return NULL;
}

static void send_greeting(struct node *node, enum wire_greeting what, struct endpoint to) {
    uint8_t bytes[WIRE_HEADER_SIZE];
    node_send(node, bytes, wire_encode_greeting(bytes, what), to);
}

/* Sending of transactions */

static void send_hashes(struct node *node, struct execution_peer *peer, const uint8_t *hashes, size_t count) {
    uint8_t bytes[WIRE_HEADER_SIZE + WIRE_MAX_HASHES * WIRE_HASH_SIZE];
    node->execution.counters.announced += count;
    node_send(node, bytes, wire_encode_announcement(bytes, hashes, (uint16_t)count), peer->endpoint);
}

static void send_whole(struct node *node, enum wire_type type, const struct transaction *transaction, uint16_t attempt,
                       struct endpoint to) {
    uint8_t bytes[WIRE_MAX_DATAGRAM], payload[WIRE_MAX_PAYLOAD];
    uint32_t size = transaction->what.size;
    struct wire_carried carried = {
        .hash = transaction->hash,
        .attempt = attempt,
        .hops = transaction->hops,
        .parts = (uint16_t)wire_parts(size),
        .payload = payload,
    };
    for (; carried.part < carried.parts; carried.part++) {
        carried.size = wire_part_size(size, carried.part);
        wire_fill_carried(payload, &carried);
        node_send(node, bytes, wire_encode_carried(bytes, type, 1, &carried), to);
    }
}

/* What has waited and still lives. */
static void send_waiting(struct node *node, struct execution_peer *peer) {
    uint64_t now = report_time_ns();
    size_t alive = 0;
    for (size_t i = 0; i < peer->waiting_count; i++) {
        struct wire_transaction what;
        if (wire_read_hash(peer->waiting[i], &what) &&
            now - what.submit_time_ns < (uint64_t)node->options->transaction_life_ns) {
            memmove(peer->waiting[alive++], peer->waiting[i], WIRE_HASH_SIZE);
        }
    }
    peer->waiting_count = 0;
    if (alive > 0) {
        send_hashes(node, peer, peer->waiting[0], alive);
    }
}

static void announce(struct node *node, struct execution_peer *peer, const struct transaction *transaction,
                     int64_t now_ns) {
    int64_t interval_ns = node->options->announce_interval_ns;
    if (interval_ns == 0) {
        send_hashes(node, peer, transaction->hash, 1);
        return;
    }
    memcpy(peer->waiting[peer->waiting_count++], transaction->hash, WIRE_HASH_SIZE);
    if (peer->waiting_count == WIRE_MAX_HASHES) {
        send_waiting(node, peer);
    }
    if (node->execution.announcing_ns == INT64_MAX) {
        node->execution.announcing_ns = now_ns + interval_ns;
    }
}

/* Pushing: whole to the square root of those that lack it, the hash to the others. */
static void pass_on(struct node *node, struct transaction *transaction, int64_t now_ns) {
    struct execution *execution = &node->execution;
    transaction->state = TRANSACTION_HERE;
    size_t lacking = 0, whole = 0;
    for (size_t place = 0; place < node->options->most_execution_peers; place++) {
        if (execution->peers[place].met && !pool_has(transaction->known, place)) {
            execution->chosen[lacking++] = place;
            pool_put(transaction->known, place);
        }
    }
    bool may_push = transaction->what.type == WIRE_PLAIN && transaction->what.size <= node->options->largest_pushed;
    while (may_push && (whole + 1) * (whole + 1) <= lacking) {
        whole++;
    }
    random_choose(&node->random, execution->chosen, lacking, whole);
    for (size_t i = 0; i < lacking; i++) {
        struct execution_peer *peer = &execution->peers[execution->chosen[i]];
        if (i < whole) {
            execution->counters.pushed++;
            send_whole(node, WIRE_TRANSACTION, transaction, 0, peer->endpoint);
        } else {
            announce(node, peer, transaction, now_ns);
        }
    }
}

/* All that is here, to one that knows nothing. */
static void tell_pool(struct node *node, size_t place) {
    struct execution_peer *peer = &node->execution.peers[place];
    uint8_t hashes[WIRE_MAX_HASHES][WIRE_HASH_SIZE];
    size_t count = 0;
    peer->waiting_count = 0;
    for (struct transaction *at = node->execution.pool.first; at != NULL; at = at->next) {
        pool_drop(at->known, place);
        if (at->state != TRANSACTION_HERE) {
            continue;
        }
        pool_put(at->known, place);
        memcpy(hashes[count++], at->hash, WIRE_HASH_SIZE);
        if (count == WIRE_MAX_HASHES) {
            send_hashes(node, peer, hashes[0], count);
            count = 0;
        }
    }
    if (count > 0) {
        send_hashes(node, peer, hashes[0], count);
    }
}

/* Streams */

static void drop_stream(struct execution *execution, size_t at) {
    execution->stream_count--;
    memmove(execution->streams + at, execution->streams + at + 1,
            (execution->stream_count - at) * sizeof *execution->streams);
}

static void drop_streams(struct execution *execution, const struct transaction *transaction, size_t peer) {
    for (size_t at = execution->stream_count; at-- > 0;) {
        const struct execution_stream *stream = &execution->streams[at];
        if (stream->transaction == transaction || stream->peer == peer) {
            drop_stream(execution, at);
        }
    }
}

static struct execution_stream *find_stream(struct execution *execution, size_t peer, enum wire_type type,
                                            const struct transaction *transaction) {
    for (size_t at = 0; at < execution->stream_count; at++) {
        struct execution_stream *stream = &execution->streams[at];
        if (stream->transaction == transaction && stream->peer == peer && stream->type == type) {
            return stream;
        }
    }
    return NULL;
}

/* Whether a part is the last one, and has come after all the others. */
static bool completes(struct execution *execution, size_t peer, enum wire_type type,
                      const struct transaction *transaction, const struct wire_carried *carried) {
    if (carried->parts == 1) {
        return true;
    }
    struct execution_stream *stream = find_stream(execution, peer, type, transaction);
    if (carried->part == 0) {
        if (stream == NULL) {
            if (execution->stream_count == MAX_STREAMS) {
                drop_stream(execution, 0);
            }
            execution->streams = memory_grow(execution->streams, &execution->stream_capacity,
                                             execution->stream_count + 1, sizeof *execution->streams);
            stream = &execution->streams[execution->stream_count++];
        }
        *stream = (struct execution_stream){.peer = peer, .type = type, .transaction = transaction, .next_part = 1};
        return false;
    }
    bool is_next = stream != NULL && stream->next_part == carried->part;
    if (is_next && carried->part + 1 < carried->parts) {
        stream->next_part++;
        return false;
    }
    if (stream != NULL) {
        drop_stream(execution, (size_t)(stream - execution->streams));
    }
    execution->counters.bad += !is_next;
    return is_next;
}

/* Fetching */

/* Asks the next of those that have offered it. */
static void fetch(struct node *node, struct transaction *transaction, int64_t now_ns) {
    struct execution *execution = &node->execution;
    size_t offers = 0;
    for (size_t place = 0; place < node->options->most_execution_peers; place++) {
        if (pool_has(transaction->offered, place)) {
            execution->chosen[offers++] = place;
        }
    }
    transaction->attempt++;
    if (offers == 0) {
        transaction->state = TRANSACTION_LACKING;
        return;
    }
    size_t place = execution->chosen[random_below(&node->random, offers)];
    pool_drop(transaction->offered, place);
    transaction->state = TRANSACTION_ASKED;
    transaction->asked = place;
    execution->counters.asked++;
    uint8_t bytes[WIRE_HEADER_SIZE + 2 + WIRE_HASH_SIZE];
    uint16_t attempt = (uint16_t)(transaction->attempt & WIRE_MAX_ASK_ATTEMPT);
    node_send(node, bytes, wire_encode_ask(bytes, attempt, transaction->hash, 1), execution->peers[place].endpoint);
    pool_schedule(&execution->pool, transaction, POOL_TIMEOUT, now_ns + node->options->fetch_timeout_ns);
}

/* Receiving */

/* Whether what is said with this hash can have an effect. */
static bool lives(struct node *node, const uint8_t *hash, struct wire_transaction *what) {
    uint64_t now = report_time_ns();
    if (!wire_read_hash(hash, what) || what->submit_time_ns > now) {
        node->execution.counters.bad++;
        return false;
    }
    if (now - what->submit_time_ns >= (uint64_t)node->options->transaction_life_ns) {
        node->execution.counters.late++;
        return false;
    }
    return true;
}

/* NULL if there are too many. */
static struct transaction *find_or_add(struct node *node, const uint8_t *hash, const struct wire_transaction *what,
                                       int64_t now_ns) {
    struct transaction *found = pool_find(&node->execution.pool, hash);
    if (found != NULL) {
        return found;
    }
    int64_t age_ns = (int64_t)(report_time_ns() - what->submit_time_ns);
    return pool_add(&node->execution.pool, hash, what, now_ns + node->options->transaction_life_ns - age_ns);
}

static void hear(struct node *node, size_t place, const uint8_t *hash, int64_t now_ns) {
    struct wire_transaction what;
    struct transaction *transaction = lives(node, hash, &what) ? find_or_add(node, hash, &what, now_ns) : NULL;
    if (transaction == NULL) {
        return;
    }
    pool_put(transaction->known, place);
    if (transaction->state >= TRANSACTION_VALIDATING) {
        return;
    }
    pool_put(transaction->offered, place);
    if (transaction->state == TRANSACTION_LACKING) {
        transaction->state = TRANSACTION_WAITING;
        pool_schedule(&node->execution.pool, transaction, POOL_FETCH, now_ns + node->options->fetch_delay_ns);
    }
}

static void answer(struct node *node, size_t place, const uint8_t *hash, uint16_t attempt) {
    struct execution *execution = &node->execution;
    struct endpoint to = execution->peers[place].endpoint;
    struct wire_transaction what;
    if (!lives(node, hash, &what)) {
        return;
    }
    struct transaction *transaction = pool_find(&execution->pool, hash);
    if (transaction != NULL && transaction->state == TRANSACTION_HERE) {
        execution->counters.served++;
        pool_put(transaction->known, place);
        send_whole(node, WIRE_POOLED, transaction, attempt, to);
        return;
    }
    execution->counters.unserved++;
    uint8_t bytes[WIRE_HEADER_SIZE + WIRE_CARRIED_HEADER_SIZE];
    struct wire_carried missing = {.hash = hash, .attempt = attempt, .parts = 1, .payload = hash};
    node_send(node, bytes, wire_encode_carried(bytes, WIRE_POOLED, 0, &missing), to);
}

static void take_in(struct node *node, struct transaction *transaction, const struct wire_carried *carried,
                    bool is_pushed, struct endpoint from, int64_t now_ns) {
    struct execution *execution = &node->execution;
    *(is_pushed ? &execution->counters.got_pushed : &execution->counters.got_fetched) += 1;
    report_transaction(transaction, is_pushed ? "pushed" : "fetched", from, carried->hops);
    transaction->hops = carried->hops < UINT16_MAX ? (uint16_t)(carried->hops + 1) : UINT16_MAX;
    if (node->options->transaction_delay_ns == 0) {
        pass_on(node, transaction, now_ns);
        return;
    }
    transaction->state = TRANSACTION_VALIDATING;
    pool_schedule(&execution->pool, transaction, POOL_VALID, now_ns + node->options->transaction_delay_ns);
}

static void receive_carried(struct node *node, const struct wire_datagram *datagram, size_t place, int64_t now_ns) {
    struct execution *execution = &node->execution;
    const struct wire_carried *carried = &datagram->carried;
    bool is_pushed = datagram->type == WIRE_TRANSACTION;
    struct wire_transaction what;
    if (!lives(node, carried->hash, &what)) {
        return;
    }
    if (!wire_carried_matches(carried) || (is_pushed && what.type == WIRE_BLOBS)) { /* EIP-4844: announced only */
        execution->counters.bad++;
        return;
    }
    struct transaction *transaction = find_or_add(node, carried->hash, &what, now_ns);
    if (transaction == NULL) {
        return;
    }
    if (datagram->count == 0) {
        bool is_ours = transaction->state == TRANSACTION_ASKED && transaction->asked == place &&
                       (transaction->attempt & WIRE_MAX_ASK_ATTEMPT) == carried->attempt;
        if (is_ours) {
            fetch(node, transaction, now_ns);
        }
        return;
    }
    if (!completes(execution, place, datagram->type, transaction, carried)) {
        return;
    }
    pool_put(transaction->known, place);
    if (transaction->state >= TRANSACTION_VALIDATING) {
        execution->counters.duplicates++;
        return;
    }
    take_in(node, transaction, carried, is_pushed, execution->peers[place].endpoint, now_ns);
}

static void part_with(struct node *node, size_t place) {
    struct execution *execution = &node->execution;
    execution->peers[place].met = false;
    execution->peers[place].waiting_count = 0;
    execution->peer_count--;
    drop_streams(execution, NULL, place);
    for (struct transaction *at = execution->pool.first; at != NULL; at = at->next) {
        pool_drop(at->known, place);
        pool_drop(at->offered, place);
    }
}

/* The place of a peer that is new or begins anew, or the number of places if it is refused. */
static size_t meet(struct node *node, struct endpoint from) {
    struct execution *execution = &node->execution;
    size_t most = node->options->most_execution_peers, place = find_peer(node, from);
    if (place == most && execution->peer_count < most) {
        for (place = 0; execution->peers[place].met; place++) {
        }
        execution->peers[place].met = true;
        execution->peers[place].endpoint = from;
        execution->peer_count++;
    }
    return place;
}

static void receive_greeting(struct node *node, uint16_t what, struct endpoint from, int64_t now_ns) {
    struct execution *execution = &node->execution;
    size_t most = node->options->most_execution_peers, place = find_peer(node, from);
    struct execution_candidate *candidate = find_candidate(node, from);
    if (what == WIRE_LEAVES) {
        if (place < most) {
            part_with(node, place);
        }
        if (candidate != NULL) {
            candidate->due_ns = now_ns + GREETING_INTERVAL_LIMIT_NS;
        }
        return;
    }
    bool is_answer = what == WIRE_ANSWERS;
    if (is_answer && (place < most || candidate == NULL)) {
        execution->counters.strangers += place == most; /* we have not greeted it */
        return;
    }
    place = meet(node, from);
    if (place == most) {
        execution->counters.refused++;
        send_greeting(node, WIRE_LEAVES, from);
        return;
    }
    if (!is_answer) {
        send_greeting(node, WIRE_ANSWERS, from);
    }
    tell_pool(node, place);
}

void execution_receive(struct node *node, const struct wire_datagram *datagram, struct endpoint from, int64_t now_ns) {
    if (datagram->type == WIRE_GREETING) {
        receive_greeting(node, datagram->count, from, now_ns);
        return;
    }
    size_t place = find_peer(node, from);
    if (place == node->options->most_execution_peers) {
        node->execution.counters.strangers++;
        return;
    }
    if (datagram->type == WIRE_TRANSACTION || datagram->type == WIRE_POOLED) {
        receive_carried(node, datagram, place, now_ns);
        return;
    }
    for (size_t i = 0; i < datagram->count; i++) {
        const uint8_t *hash = datagram->hashes + i * WIRE_HASH_SIZE;
        if (datagram->type == WIRE_ASK) {
            answer(node, place, hash, datagram->attempt);
        } else {
            hear(node, place, hash, now_ns);
        }
    }
}

/* Time */

static void submit(struct node *node, const struct submission *submission, int64_t now_ns) {
    struct execution *execution = &node->execution;
    uint8_t hash[WIRE_HASH_SIZE];
    struct wire_transaction what = {
        .origin = node->options->advertise,
        .sequence = ++execution->sequence,
        .submit_time_ns = report_time_ns(),
        .size = submission->size,
        .type = submission->has_blobs ? WIRE_BLOBS : WIRE_PLAIN,
    };
    wire_write_hash(hash, &what);
    struct transaction *transaction = find_or_add(node, hash, &what, now_ns);
    if (transaction != NULL) {
        execution->counters.submitted++;
        report_submit(transaction);
        pass_on(node, transaction, now_ns);
    }
}

static void submit_due(struct node *node, size_t index, int64_t now_ns) {
    const struct submission *submission = &node->options->submissions[index];
    struct submission_state *state = &node->execution.submissions[index];
    while (state->due_ns <= now_ns) {
        submit(node, submission, now_ns);
        state->remaining--;
        state->due_ns = state->remaining > 0 ? state->due_ns + submission->interval_ns : INT64_MAX;
    }
}

static void greet_due(struct node *node, int64_t now_ns) {
    struct execution *execution = &node->execution;
    size_t most = node->options->most_execution_peers;
    for (size_t i = 0; i < execution->candidate_count; i++) {
        struct execution_candidate *candidate = &execution->candidates[i];
        if (candidate->due_ns > now_ns) {
            continue;
        }
        candidate->due_ns = now_ns + candidate->interval_ns;
        candidate->interval_ns = earlier(candidate->interval_ns * 2, GREETING_INTERVAL_LIMIT_NS);
        if (find_peer(node, candidate->endpoint) == most && execution->peer_count < most) {
            send_greeting(node, WIRE_GREETS, candidate->endpoint);
        }
    }
}

static void timer_due(struct node *node, const struct pool_timer *timer, int64_t now_ns) {
    struct execution *execution = &node->execution;
    struct transaction *transaction = timer->transaction;
    bool is_current = timer->attempt == transaction->attempt;
    switch (timer->kind) {
    case POOL_FETCH:
        if (is_current && transaction->state == TRANSACTION_WAITING) {
            fetch(node, transaction, now_ns);
        }
        return;
    case POOL_TIMEOUT:
        if (is_current && transaction->state == TRANSACTION_ASKED) {
            execution->counters.timeouts++;
            fetch(node, transaction, now_ns);
        }
        return;
    case POOL_VALID:
        pass_on(node, transaction, now_ns);
        return;
    case POOL_OVER:
        drop_streams(execution, transaction, SIZE_MAX);
        pool_remove(&execution->pool, transaction);
        return;
    }
}

int64_t execution_next_time(const struct node *node) {
    const struct execution *execution = &node->execution;
    int64_t next = earlier(pool_next_time(&execution->pool), execution->announcing_ns);
    for (size_t i = 0; i < node->options->submission_count; i++) {
        next = earlier(next, execution->submissions[i].due_ns);
    }
    for (size_t i = 0; i < execution->candidate_count; i++) {
        next = earlier(next, execution->candidates[i].due_ns);
    }
    return next;
}

void execution_advance(struct node *node, int64_t now_ns) {
    struct execution *execution = &node->execution;
    struct pool_timer timer;
    while (pool_due(&execution->pool, &timer, now_ns)) {
        timer_due(node, &timer, now_ns);
    }
    for (size_t i = 0; i < node->options->submission_count; i++) {
        submit_due(node, i, now_ns);
    }
    if (execution->announcing_ns <= now_ns) {
        execution->announcing_ns = INT64_MAX;
        for (size_t place = 0; place < node->options->most_execution_peers; place++) {
            send_waiting(node, &execution->peers[place]);
        }
    }
    greet_due(node, now_ns);
}

/* Life */

void execution_open(struct node *node, int64_t now_ns) {
    const struct options *options = node->options;
    struct execution *execution = &node->execution;
    size_t most = options->most_execution_peers;
    pool_open(&execution->pool, most);
    execution->announcing_ns = INT64_MAX;
    execution->peers = memory_allocate(most * sizeof *execution->peers);
    for (size_t place = 0; place < most && options->announce_interval_ns > 0; place++) {
        execution->peers[place].waiting = memory_allocate(WIRE_MAX_HASHES * WIRE_HASH_SIZE);
    }
    execution->chosen = memory_allocate(most * sizeof *execution->chosen);
    execution->candidates = memory_allocate(options->execution_peers.count * sizeof *execution->candidates);
    for (size_t i = 0; i < options->execution_peers.count; i++) {
        struct endpoint endpoint = options->execution_peers.items[i];
        if (!options_name_ourselves(options, endpoint)) { /* one list of peers may serve all nodes */
            execution->candidates[execution->candidate_count++] = (struct execution_candidate){
                .endpoint = endpoint,
                .due_ns = now_ns,
                .interval_ns = options->heartbeat_ns,
            };
        }
    }
    execution->submissions = memory_allocate(options->submission_count * sizeof *execution->submissions);
    for (size_t i = 0; i < options->submission_count; i++) {
        execution->submissions[i] = (struct submission_state){
            .due_ns = now_ns + options->submissions[i].start_ns,
            .remaining = options->submissions[i].count,
        };
    }
    greet_due(node, now_ns);
}

void execution_leave(struct node *node) {
    for (size_t place = 0; place < node->options->most_execution_peers; place++) {
        if (node->execution.peers[place].met) {
            send_greeting(node, WIRE_LEAVES, node->execution.peers[place].endpoint);
        }
    }
}

void execution_close(struct node *node) {
    struct execution *execution = &node->execution;
    for (size_t place = 0; place < node->options->most_execution_peers; place++) {
        free(execution->peers[place].waiting);
    }
    pool_close(&execution->pool);
    free(execution->peers);
    free(execution->chosen);
    free(execution->candidates);
    free(execution->streams);
    free(execution->submissions);
}
