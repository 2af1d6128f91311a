/* TCP's timers: retransmission (RFC 6298), tail-loss and reordering timers (RFC 8985), window probes, delayed ACKs,
 * keepalive, FIN_WAIT2 and TIME_WAIT.
 *
 * timer.c calls tcp_timer when one is due; that calls tcp_out.c to send and tcp_in.c to declare losses. Deadlines that
 * move with every segment are kept beside the timer (struct tcp_deadline), so that the heap is touched only when one
 * comes earlier than the timer stands.
 */
#include "tcp.h"

#define LOSS_PROBE_SLACK (2 * NS_PER_MS) /* Linux TCP_TIMEOUT_MIN; RFC 8985, 7.2 leaves it open */
#define KEEPALIVE_IDLE (7200 * NS_PER_S) /* RFC 1122, 4.2.3.6 */
#define KEEPALIVE_INTERVAL (75 * NS_PER_S)
#define KEEPALIVE_PROBES 9u
#define MIN_RTT_WINDOW (300 * NS_PER_S) /* net.ipv4.tcp_min_rtt_wlen */

void tcp_deadline_set(struct tcp *tcp, struct tcp_deadline *deadline, int64_t when) {
    deadline->when = when;
    if (!timer_armed(&deadline->timer) || deadline->timer.when > when)
        timer_arm(tcp_host(tcp), &deadline->timer, when);
}

void tcp_timers_init(struct tcp *tcp) {
    timer_init(&tcp->retransmit.timer, TIMER_TCP, TCP_TIMER_RETRANSMIT, tcp);
    timer_init(&tcp->acknowledge.timer, TIMER_TCP, TCP_TIMER_ACK, tcp);
    timer_init(&tcp->keepalive.timer, TIMER_TCP, TCP_TIMER_KEEPALIVE, tcp);
    tcp_deadline_clear(&tcp->retransmit);
    tcp_deadline_clear(&tcp->acknowledge);
    tcp_deadline_clear(&tcp->keepalive);
    tcp->pending = TCP_PENDING_NONE;
}

void tcp_timers_cancel(struct tcp *tcp) {
    timer_cancel(tcp_host(tcp), &tcp->retransmit.timer);
    timer_cancel(tcp_host(tcp), &tcp->acknowledge.timer);
    timer_cancel(tcp_host(tcp), &tcp->keepalive.timer);
    tcp_deadline_clear(&tcp->retransmit);
    tcp_deadline_clear(&tcp->acknowledge);
    tcp_deadline_clear(&tcp->keepalive);
    tcp->pending = TCP_PENDING_NONE;
}

/* ---- Round-trip time ---- */

/* RFC 6298, 2, with Linux's variance: its largest value per round, so that the RTO does not fall below srtt + 200 ms.
 */
void tcp_rtt_sample(struct tcp *tcp, int64_t rtt) {
    rtt = KMAX(rtt, INT64_C(1));
    if (!tcp->min_rtt || rtt <= tcp->min_rtt || tcp_now(tcp) - tcp->min_rtt_time > MIN_RTT_WINDOW) {
        tcp->min_rtt = rtt;
        tcp->min_rtt_time = tcp_now(tcp);
    }
    if (!tcp->srtt_8) {
        tcp->srtt_8 = rtt * 8;
        tcp->mdev_4 = rtt * 2;
        tcp->rttvar = tcp->mdev_max = KMAX(tcp->mdev_4, TCP_RTO_MIN);
        tcp->rtt_sequence = tcp->snd_nxt;
    } else {
        int64_t error = rtt - tcp->srtt_8 / 8;
        tcp->srtt_8 += error;
        int64_t deviation = (error < 0 ? -error : error) - tcp->mdev_4 / 4;
        /* A sample far below the mean says that the path got faster, not that it varies: let it weigh little. */
        if (error < 0 && deviation > 0)
            deviation /= 8;
        tcp->mdev_4 += deviation;
        if (tcp->mdev_4 > tcp->mdev_max) {
            tcp->mdev_max = tcp->mdev_4;
            tcp->rttvar = KMAX(tcp->rttvar, tcp->mdev_max);
        }
        if (tcp_after(tcp->snd_una, tcp->rtt_sequence)) {
            if (tcp->mdev_max < tcp->rttvar)
                tcp->rttvar -= (tcp->rttvar - tcp->mdev_max) / 4;
            tcp->rtt_sequence = tcp->snd_nxt;
            tcp->mdev_max = TCP_RTO_MIN;
        }
    }
    tcp->rto = KMIN(tcp->srtt_8 / 8 + tcp->rttvar, TCP_RTO_MAX);
}

static int64_t backed_off(const struct tcp *tcp, int64_t base) {
    for (unsigned i = 0; i < tcp->backoff && base < TCP_RTO_MAX; i++)
        base *= 2;
    return KMIN(base, TCP_RTO_MAX);
}

/* ---- Arming ---- */

void tcp_arm_pending(struct tcp *tcp, enum tcp_pending pending, int64_t delay) {
    tcp->pending = (uint8_t)pending;
    tcp_deadline_set(tcp, &tcp->retransmit, tcp_now(tcp) + delay);
}

static int64_t limited_by_user(const struct tcp *tcp, int64_t since, int64_t delay) {
    if (!tcp->settings.user_timeout || !since)
        return delay;
    int64_t left = since + tcp->settings.user_timeout - tcp_now(tcp);
    return KMIN(delay, KMAX(left, NS_PER_MS));
}

void tcp_arm_retransmit(struct tcp *tcp) {
    if (!tcp->packets_out) {
        tcp->pending = TCP_PENDING_NONE;
        tcp_deadline_clear(&tcp->retransmit);
        return;
    }
    int64_t delay = backed_off(tcp, tcp->rto);
    /* The other timers of this one timer ran since the oldest segment was sent: that time counts. */
    if (tcp->pending == TCP_PENDING_LOSS_PROBE || tcp->pending == TCP_PENDING_REORDER)
        delay = KMAX(delay - (tcp_now(tcp) - tcp_first(tcp)->sent_time), NS_PER_MS);
    tcp_arm_pending(tcp, TCP_PENDING_RETRANSMIT,
                    limited_by_user(tcp, tcp->retransmits ? tcp->stalled_since : 0, delay));
}

bool tcp_arm_loss_probe(struct tcp *tcp) {
    if (!tcp->sack || !tcp->packets_out || tcp->sacked_out || tcp->loss_probe_out ||
        (tcp->recovery != TCP_OPEN && tcp->recovery != TCP_CWR) || !tcp_in(tcp, ~TCP_STATES(TCP_SYN_SENT)) ||
        tcp->state == TCP_SYN_RECV)
        return false;
    int64_t delay = NS_PER_S;
    if (tcp->srtt_8) {
        delay = tcp->srtt_8 / 4;                                         /* PTO = 2 * SRTT */
        delay += tcp->packets_out == 1 ? TCP_RTO_MIN : LOSS_PROBE_SLACK; /* a lone segment may meet a delayed ACK */
    }
    /* An RTO that comes sooner does as well. */
    if (delay >= tcp->rto || (tcp->pending == TCP_PENDING_RETRANSMIT && tcp->retransmit.when <= tcp_now(tcp) + delay))
        return false;
    tcp_arm_pending(tcp, TCP_PENDING_LOSS_PROBE, delay);
    return true;
}

void tcp_arm_window_probe(struct tcp *tcp) {
    if (tcp->packets_out || !tcp->unsent || tcp->pending == TCP_PENDING_WINDOW_PROBE)
        return;
    if (!tcp->probes_since)
        tcp->probes_since = tcp_now(tcp);
    tcp_arm_pending(tcp, TCP_PENDING_WINDOW_PROBE,
                    limited_by_user(tcp, tcp->probes_since, backed_off(tcp, KMAX(tcp->rto, TCP_RTO_MIN))));
}

void tcp_delay_ack(struct tcp *tcp) {
    int64_t delay = tcp->ack_delay;
    if (delay > TCP_ACK_DELAY_MIN) {
        int64_t most = tcp->interactive ? TCP_ACK_DELAY_MAX : NS_PER_S / 2;
        if (tcp->srtt_8)
            most = KMIN(most, KMAX(tcp->srtt_8 / 8, TCP_ACK_DELAY_MIN));
        delay = KMIN(delay, most);
    }
    delay = KMIN(KMAX(delay, TCP_ACK_DELAY_MIN), TCP_ACK_DELAY_MAX);
    int64_t when = tcp_now(tcp) + delay;
    if (tcp->acknowledge.when > when)
        tcp_deadline_set(tcp, &tcp->acknowledge, when);
}

int64_t tcp_keepalive_idle(const struct tcp *tcp) {
    return tcp->settings.keepalive_idle ? tcp->settings.keepalive_idle : KEEPALIVE_IDLE;
}

int64_t tcp_keepalive_interval(const struct tcp *tcp) {
    return tcp->settings.keepalive_interval ? tcp->settings.keepalive_interval : KEEPALIVE_INTERVAL;
}

uint32_t tcp_keepalive_probes(const struct tcp *tcp) {
    return tcp->settings.keepalive_probes ? tcp->settings.keepalive_probes : KEEPALIVE_PROBES;
}

void tcp_arm_keepalive(struct tcp *tcp) {
    if (tcp->socket->keepalive && tcp_in(tcp, ~(TCP_STATES(TCP_CLOSE) | TCP_STATES(TCP_LISTEN) |
                                                TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV))))
        tcp_deadline_set(tcp, &tcp->keepalive, tcp_now(tcp) + tcp_keepalive_idle(tcp));
}

/* ---- Expiry ---- */

/* Whether `retries` exponential back-offs from `base` have passed since the first retransmission: Linux counts in time,
 * so that retransmissions sent early by other timers do not end a connection sooner. */
static bool given_up(const struct tcp *tcp, uint32_t retries, int64_t base) {
    if (!tcp->retransmits)
        return false;
    int64_t elapsed = tcp_now(tcp) - tcp->stalled_since;
    if (tcp->settings.user_timeout)
        return elapsed >= tcp->settings.user_timeout;
    int64_t total = 0, delay = base;
    for (uint32_t i = 0; i <= retries; i++) {
        total += delay;
        delay = KMIN(2 * delay, TCP_RTO_MAX);
    }
    return elapsed >= total;
}

static bool write_timed_out(struct tcp *tcp) {
    if (tcp_in(tcp, TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV))) {
        uint32_t retries = tcp->settings.syn_retries ? tcp->settings.syn_retries : TCP_SYN_RETRIES;
        return tcp->retransmits >= retries || (tcp->settings.user_timeout && tcp->retransmits &&
                                               tcp_now(tcp) - tcp->stalled_since >= tcp->settings.user_timeout);
    }
    return given_up(tcp, tcp->orphan ? TCP_ORPHAN_RETRIES : TCP_RETRIES, TCP_RTO_MIN);
}

static void count_timeout(struct tcp *tcp) {
    if (tcp->retransmits < UINT8_MAX)
        tcp->retransmits++;
    if (tcp->backoff < 16)
        tcp->backoff++;
    tcp_arm_retransmit(tcp);
}

/* No ACK has come for a listener's SYN-ACK, or none that it took. While TCP_DEFER_ACCEPT waits for the data of a peer
 * that has acknowledged it, it is not sent again but once, at the end: then a bare ACK will do (Linux: syn_ack_recalc).
 */
static void handshake_due(struct tcp *tcp) {
    const struct tcp_settings *listener = &tcp->listener->settings;
    uint32_t retries = listener->syn_retries ? listener->syn_retries : TCP_SYNACK_RETRIES;
    uint32_t deferred = tcp->handshake_acked ? listener->defer_accept : 0;
    if (tcp->retransmits >= retries && tcp->retransmits >= deferred) {
        tcp_done(tcp, ETIMEDOUT);
        return;
    }
    if (tcp->retransmits + 1u >= deferred)
        tcp_retransmit(tcp, tcp_first(tcp));
    count_timeout(tcp);
}

static void retransmission_due(struct tcp *tcp) {
    if (!tcp->packets_out)
        return;
    if (tcp->state == TCP_SYN_RECV && tcp->listener) {
        handshake_due(tcp);
        return;
    }
    if (!tcp->retransmits)
        tcp->stalled_since = KMAX(tcp_first(tcp)->sent_time, INT64_C(1));
    if (write_timed_out(tcp)) {
        tcp_done(tcp, ETIMEDOUT);
        return;
    }
    if (tcp_in(tcp, TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV))) {
        /* RFC 6298, 5.7 */
        tcp_retransmit(tcp, tcp_first(tcp));
    } else {
        tcp_enter_loss(tcp);
        tcp_retransmit(tcp, tcp_first(tcp));
    }
    count_timeout(tcp);
}

static void window_probe_due(struct tcp *tcp) {
    if (tcp->packets_out || !tcp->unsent) {
        tcp->probes = 0;
        tcp->probes_since = 0;
        return;
    }
    if (tcp->settings.user_timeout && tcp->probes_since &&
        tcp_now(tcp) - tcp->probes_since >= tcp->settings.user_timeout) {
        tcp_done(tcp, ETIMEDOUT);
        return;
    }
    /* RFC 9293, 3.8.6.1: as long as the peer answers, probing goes on; each answer clears `probes`. */
    if (tcp->probes >= (tcp->orphan ? TCP_ORPHAN_RETRIES : TCP_RETRIES)) {
        tcp_done(tcp, ETIMEDOUT);
        return;
    }
    tcp_send_probe(tcp);
    if (tcp->packets_out) { /* the window had room for a part: that is in flight now, under the RTO */
        tcp_arm_retransmit(tcp);
        return;
    }
    tcp->probes++;
    if (tcp->backoff < 16)
        tcp->backoff++;
    tcp_arm_window_probe(tcp);
}

static void retransmit_timer_due(struct tcp *tcp) {
    enum tcp_pending pending = tcp->pending;
    tcp->pending = TCP_PENDING_NONE;
    switch (pending) {
    case TCP_PENDING_RETRANSMIT:
        retransmission_due(tcp);
        break;
    case TCP_PENDING_LOSS_PROBE:
        if (!tcp_send_loss_probe(tcp))
            retransmission_due(tcp);
        break;
    case TCP_PENDING_REORDER:
        tcp_reorder_timeout(tcp);
        break;
    case TCP_PENDING_WINDOW_PROBE:
        window_probe_due(tcp);
        break;
    case TCP_PENDING_NONE:
        break;
    }
}

static void delayed_ack_due(struct tcp *tcp) {
    if (!tcp->ack_scheduled)
        return;
    if (tcp->interactive) {
        /* It waited for an answer to travel with, in vain: the program does not answer after all. */
        tcp->interactive = false;
        tcp->ack_delay = TCP_ACK_DELAY_MIN;
    } else {
        tcp->ack_delay = KMIN(tcp->ack_delay * 2, tcp->rto);
    }
    tcp_send_ack(tcp);
}

static void keepalive_due(struct tcp *tcp) {
    if (tcp->state == TCP_TIME_WAIT || (tcp->state == TCP_FIN_WAIT2 && tcp->orphan)) {
        tcp_done(tcp, 0);
        return;
    }
    if (!tcp->socket->keepalive || tcp_in(tcp, TCP_STATES(TCP_CLOSE) | TCP_STATES(TCP_LISTEN) |
                                                   TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV)))
        return;
    int64_t now = tcp_now(tcp), next = tcp_keepalive_idle(tcp);
    if (!tcp->packets_out && !tcp->unsent) {
        int64_t silent = now - KMAX(tcp->last_received, tcp->last_heard);
        if (silent >= next) {
            bool dead = tcp->settings.user_timeout ? silent >= tcp->settings.user_timeout && tcp->probes
                                                   : tcp->probes >= tcp_keepalive_probes(tcp);
            if (dead) {
                tcp_reset_and_done(tcp, ETIMEDOUT);
                return;
            }
            tcp_send_probe(tcp);
            tcp->probes++;
            next = tcp_keepalive_interval(tcp);
        } else {
            next -= silent;
        }
    }
    tcp_deadline_set(tcp, &tcp->keepalive, now + next);
}

void tcp_timer(struct host *host, struct timer *timer) {
    struct tcp *tcp = timer->owner;
    struct tcp_deadline *deadline = container_of(timer, struct tcp_deadline, timer);
    if (deadline->when == NEVER)
        return;
    if (deadline->when > host->now) {
        timer_arm(host, timer, deadline->when);
        return;
    }
    tcp_deadline_clear(deadline);
    switch ((enum tcp_timer_detail)timer->detail) {
    case TCP_TIMER_RETRANSMIT:
        retransmit_timer_due(tcp);
        break;
    case TCP_TIMER_ACK:
        delayed_ack_due(tcp);
        break;
    case TCP_TIMER_KEEPALIVE:
        keepalive_due(tcp);
        break;
    }
}
