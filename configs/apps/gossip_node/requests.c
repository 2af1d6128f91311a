/* See requests.h. */
#include "requests.h"

#include <stdlib.h>

#include "memory.h"

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

void requests_open(struct requests *requests, const struct options *options, int64_t now_ns) {
    *requests = (struct requests){.options = options};
    requests->asks = memory_allocate(options->ask_count * sizeof *requests->asks);
    for (size_t i = 0; i < options->ask_count; i++) {
        requests->asks[i] = (struct ask_state){
            .due_ns = now_ns + options->asks[i].start_ns,
            .remaining = options->asks[i].count,
        };
    }
}

void requests_close(struct requests *requests) {
    free(requests->asks);
    free(requests->open);
}

int64_t requests_next_time(const struct requests *requests) {
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < requests->options->ask_count; i++) {
        next = earlier(next, requests->asks[i].due_ns);
    }
    for (size_t i = 0; i < requests->open_count; i++) {
        next = earlier(next, requests->open[i].deadline_ns);
    }
    return next;
}

const struct ask *requests_due(struct requests *requests, int64_t now_ns) {
    for (size_t i = 0; i < requests->options->ask_count; i++) {
        struct ask_state *state = &requests->asks[i];
        if (state->due_ns <= now_ns) {
            const struct ask *ask = &requests->options->asks[i];
            state->remaining--;
            state->due_ns = state->remaining > 0 ? state->due_ns + ask->interval_ns : INT64_MAX;
            return ask;
        }
    }
    return NULL;
}

uint32_t requests_begin(struct requests *requests, const struct ask *ask, struct endpoint to, int64_t now_ns) {
    requests->open =
        memory_grow(requests->open, &requests->open_capacity, requests->open_count + 1, sizeof *requests->open);
    requests->open[requests->open_count++] = (struct open_request){
        .ask = ask,
        .number = ++requests->number,
        .intact = true,
        .to = to,
        .asked_ns = now_ns,
        .deadline_ns = now_ns + ask->timeout_ns,
    };
    return requests->number;
}

static void take(struct requests *requests, size_t place, struct open_request *taken) {
    *taken = requests->open[place];
    /* The order of the others says which is the oldest. */
    for (size_t i = place + 1; i < requests->open_count; i++) {
        requests->open[i - 1] = requests->open[i];
    }
    requests->open_count--;
}

bool requests_expire(struct requests *requests, struct open_request *over, int64_t now_ns) {
    for (size_t i = 0; i < requests->open_count; i++) {
        if (requests->open[i].deadline_ns <= now_ns) {
            take(requests, i, over);
            return true;
        }
    }
    return false;
}

enum requests_outcome requests_receive(struct requests *requests, const struct wire_datagram *datagram,
                                       struct endpoint from, struct open_request *done) {
    const struct wire_response *response = &datagram->response;
    for (size_t i = 0; i < requests->open_count; i++) {
        struct open_request *open = &requests->open[i];
        if (open->number != response->number || open->ask->protocol != datagram->topic || response->attempt != 0 ||
            open->next_part != response->part || !endpoint_equal(open->to, from)) {
            continue;
        }
        open->next_part++;
        open->bytes += response->size;
        open->intact = open->intact && wire_response_matches(response, requests->options->advertise);
        if (open->next_part < response->parts) {
            return REQUESTS_PART;
        }
        take(requests, i, done);
        return REQUESTS_COMPLETE;
    }
    return REQUESTS_UNKNOWN;
}
