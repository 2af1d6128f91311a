/* See report.h. */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define ADDRESS_FORMAT "%u.%u.%u.%u"
#define ADDRESS_PARTS(address) (address) >> 24, (address) >> 16 & 0xff, (address) >> 8 & 0xff, (address) & 0xff

static const char *const TYPE_NAMES[WIRE_TYPE_LIMIT] = {
    NULL,        "hello",   "leave",    "graft",       "prune",        "ihave", "iwant",  "message",
    "idontwant", "request", "response", "transaction", "announcement", "ask",   "pooled", "greeting"};

uint64_t report_time_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put_string(const char *text) {
    putchar('"');
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\') {
            putchar('\\');
            putchar(byte);
        } else if (byte < 0x20) {
            printf("\\u%04x", byte);
        } else {
            putchar(byte);
        }
    }
    putchar('"');
}

static void begin_line(const char *event) { printf("{\"event\":\"%s\",\"time_ns\":%" PRIu64, event, report_time_ns()); }

static void end_line(void) {
    puts("}");
    fflush(stdout);
}

void report_start(const struct options *options) {
    begin_line("start");
    fputs(",\"name\":", stdout);
    put_string(options->name);
    char listen_at[ENDPOINT_TEXT_MAX];
    printf(",\"listen\":\"%s\"", endpoint_text(options->listen, listen_at));
    printf(",\"advertise\":\"" ADDRESS_FORMAT "\",\"topics\":[", ADDRESS_PARTS(options->advertise));
    for (size_t i = 0; i < options->topic_count; i++) {
        printf("%s%u", i > 0 ? "," : "", options->topics[i]);
    }
    const struct mesh_parameters *mesh = &options->mesh;
    printf("],\"peers\":%zu,\"heartbeat_ns\":%" PRId64 ",\"d\":%u,\"d_low\":%u,\"d_high\":%u,\"d_lazy\":%u",
           options->peers.count, options->heartbeat_ns, mesh->degree, mesh->degree_low, mesh->degree_high,
           mesh->degree_lazy);
    end_line();
}

void report_publish(const struct stored_message *message) {
    /* The same reading of the clock as in the message, so that delays can be computed from either. */
    printf("{\"event\":\"publish\",\"time_ns\":%" PRIu64 ",\"topic\":%u,\"id\":\"0x%016" PRIx64 "\",\"size\":%u",
           message->publish_time_ns, message->topic, message->id, message->size);
    end_line();
}

void report_deliver(const struct stored_message *message, struct endpoint from, bool ok) {
    uint64_t now_ns = report_time_ns();
    printf("{\"event\":\"deliver\",\"time_ns\":%" PRIu64 ",\"topic\":%u,\"id\":\"0x%016" PRIx64 "\"", now_ns,
           message->topic, message->id);
    char sender[ENDPOINT_TEXT_MAX];
    printf(",\"from\":\"%s\",\"hops\":%u", endpoint_text(from, sender), message->hops);
    /* Signed: the publisher's clock may be ahead of ours. */
    printf(",\"delay_ns\":%" PRId64 ",\"size\":%u,\"ok\":%s", (int64_t)(now_ns - message->publish_time_ns),
           message->size, ok ? "true" : "false");
    end_line();
}

void report_response(const struct open_request *request, const char *outcome, uint16_t chunks, int64_t now_ns) {
    begin_line("response");
    char asked[ENDPOINT_TEXT_MAX];
    printf(",\"protocol\":%u,\"number\":%" PRIu32 ",\"from\":\"%s\"", request->ask->protocol, request->number,
           endpoint_text(request->to, asked));
    printf(",\"outcome\":\"%s\",\"latency_ns\":%" PRId64 ",\"chunks\":%u,\"size\":%" PRIu32 ",\"ok\":%s", outcome,
           now_ns - request->asked_ns, chunks, request->bytes, request->intact ? "true" : "false");
    end_line();
}

static void put_transaction(const struct wire_transaction *what) {
    printf(",\"origin\":\"" ADDRESS_FORMAT "\",\"sequence\":%" PRIu32, ADDRESS_PARTS(what->origin), what->sequence);
    printf(",\"size\":%" PRIu32 ",\"blobs\":%s", what->size, what->type == WIRE_BLOBS ? "true" : "false");
}

void report_submit(const struct transaction *transaction) {
    /* The same reading of the clock as in the hash. */
    printf("{\"event\":\"submit\",\"time_ns\":%" PRIu64, transaction->what.submit_time_ns);
    put_transaction(&transaction->what);
    end_line();
}

void report_transaction(const struct transaction *transaction, const char *how, struct endpoint from, uint16_t hops) {
    uint64_t now_ns = report_time_ns();
    printf("{\"event\":\"transaction\",\"time_ns\":%" PRIu64, now_ns);
    put_transaction(&transaction->what);
    char sender[ENDPOINT_TEXT_MAX];
    printf(",\"how\":\"%s\",\"from\":\"%s\",\"hops\":%u", how, endpoint_text(from, sender), hops);
    printf(",\"delay_ns\":%" PRId64, (int64_t)(now_ns - transaction->what.submit_time_ns));
    end_line();
}

static void put_execution(const struct execution *execution) {
    const struct execution_counters *counters = &execution->counters;
    const struct {
        const char *key;
        uint64_t value;
    } plain[] = {
        {"submitted", counters->submitted},
        {"got_pushed", counters->got_pushed},
        {"got_fetched", counters->got_fetched},
        {"duplicates", counters->duplicates},
        {"pushed", counters->pushed},
        {"announced", counters->announced},
        {"asked", counters->asked},
        {"timeouts", counters->timeouts},
        {"served", counters->served},
        {"unserved", counters->unserved},
        {"bad", counters->bad},
        {"late", counters->late},
        {"strangers", counters->strangers},
        {"refused", counters->refused},
    };
    printf(",\"transactions\":{\"peers\":%zu", execution->peer_count);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        printf(",\"%s\":%" PRIu64, plain[i].key, plain[i].value);
    }
    putchar('}');
}

static void put_by_type(const char *key, const uint64_t *counts) {
    printf(",\"%s\":{", key);
    for (size_t type = WIRE_HELLO; type < WIRE_TYPE_LIMIT; type++) {
        printf("%s\"%s\":%" PRIu64, type > WIRE_HELLO ? "," : "", TYPE_NAMES[type], counts[type]);
    }
    putchar('}');
}

void report_summary(const struct node *node) {
    const struct counters *counters = &node->counters;
    const struct {
        const char *key;
        uint64_t value;
    } plain[] = {
        {"published", counters->published},
        {"delivered", counters->delivered},
        {"corrupt", counters->corrupt},
        {"duplicates", counters->duplicates},
        {"ids_requested", counters->ids_requested},
        {"iwant_served", counters->iwant_served},
        {"copies_spared", counters->copies_spared},
        {"bad_datagrams", counters->bad_datagrams},
        {"asked", counters->asked},
        {"unasked", counters->unasked},
        {"answered", counters->answered},
        {"refused", counters->refused},
        {"timeouts", counters->timeouts},
        {"late", counters->late},
        {"served", counters->served},
        {"turned_away", counters->turned_away},
        {"limited", counters->limited},
        {"other_topics", counters->other_topics},
        {"send_failures", counters->send_failures},
        {"bytes_sent", counters->bytes_sent},
        {"bytes_received", counters->bytes_received},
    };
    begin_line("summary");
    fputs(",\"name\":", stdout);
    put_string(node->options->name);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        printf(",\"%s\":%" PRIu64, plain[i].key, plain[i].value);
    }
    put_execution(&node->execution);
    put_by_type("sent", counters->sent);
    put_by_type("received", counters->received);
    fputs(",\"topics\":[", stdout);
    for (size_t i = 0; i < node->options->topic_count; i++) {
        const struct mesh *mesh = &node->meshes[i];
        printf("%s{\"topic\":%u,\"peers\":%zu,\"mesh\":%zu}", i > 0 ? "," : "", mesh->topic, mesh->known_count,
               mesh->mesh_count);
    }
    putchar(']');
    end_line();
}
