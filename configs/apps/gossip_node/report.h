/*
 * What the node tells its user: JSON objects, one a line, on stdout. Called by node.c and main.c.
 */
#ifndef GOSSIP_REPORT_H
#define GOSSIP_REPORT_H

#include "cache.h"
#include "node.h"

/* CLOCK_REALTIME in ns, the clock of every time that leaves the node. */
uint64_t report_time_ns(void);

void report_start(const struct options *options);
void report_publish(const struct stored_message *message);
void report_deliver(const struct stored_message *message, struct endpoint from, bool ok);
/* How a request of ours has ended, with what outcome. */
void report_response(const struct open_request *request, const char *outcome, uint16_t chunks, int64_t now_ns);
void report_submit(const struct transaction *transaction);
/* One that has come whole, after so many hops. */
void report_transaction(const struct transaction *transaction, const char *how, struct endpoint from, uint16_t hops);
void report_summary(const struct node *node);

#endif
