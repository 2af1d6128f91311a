/* Congestion control: CUBIC (RFC 9438) and Reno (RFC 5681), in integers.
 *
 * tcp_in.c calls it with acknowledgements and losses, tcp_out.c when sending resumes after a pause; it calls nothing
 * and changes only the congestion window, the threshold and its own state.
 */
#include "tcp.h"

#define CUBIC_BETA_1024 717u         /* RFC 9438, 4.6: beta_cubic = 0.7 */
#define CUBIC_C_NUMERATOR INT64_C(4) /* RFC 9438, 5: C = 0.4 segments per second cubed */
#define CUBIC_C_DENOMINATOR INT64_C(10)
#define CUBIC_ALPHA_65536 34695u         /* RFC 9438, 4.3: 3 (1 - beta) / (1 + beta) */
#define CUBIC_SPAN_MS (INT64_C(1) << 20) /* 17 minutes: its cube still fits */

#define HYSTART_WINDOW_MIN 16u                 /* below this, slow start goes on whatever the delays */
#define HYSTART_SAMPLES 8u                     /* RFC 9406, 4.3: N_RTT_SAMPLE */
#define HYSTART_THRESHOLD_MIN (4 * NS_PER_MS)  /* MIN_RTT_THRESH */
#define HYSTART_THRESHOLD_MAX (16 * NS_PER_MS) /* MAX_RTT_THRESH */

static const char *const names[] = {[TCP_CUBIC] = "cubic", [TCP_RENO] = "reno"};

const char *tcp_congestion_name(enum tcp_congestion_kind kind) { return names[kind]; }

int tcp_congestion_of(const char *name, size_t length) {
    for (int kind = 0; kind < (int)ARRAY_LENGTH(names); kind++)
        if (strlen(names[kind]) == length && memcmp(names[kind], name, length) == 0)
            return kind;
    return -ENOENT;
}

void tcp_congestion_init(struct tcp *tcp) {
    memset(&tcp->cubic, 0, sizeof tcp->cubic);
    tcp->cubic.epoch = -1;
    tcp->cwnd_count = 0;
}

uint32_t tcp_congestion_ssthresh(struct tcp *tcp) {
    if (tcp->settings.congestion == TCP_RENO)
        return KMAX(tcp->cwnd / 2, 2u);
    uint32_t reduced = (uint32_t)((uint64_t)tcp->cwnd * CUBIC_BETA_1024 / 1024);
    /* RFC 9438, 4.7: fast convergence leaves room to newcomers when the window shrinks from one loss to the next. */
    tcp->cubic.w_max = tcp->cwnd < tcp->cubic.w_max ? (tcp->cwnd + reduced) / 2 : tcp->cwnd;
    tcp->cubic.epoch = -1;
    return KMAX(reduced, 2u);
}

void tcp_congestion_timeout(struct tcp *tcp) {
    tcp->cubic.epoch = -1;
    tcp->cubic.round_samples = 0;
    tcp->cubic.round_min = tcp->cubic.last_round_min = 0;
    tcp->cwnd_count = 0;
}

/* The largest integer whose cube is not above `value`. */
static uint64_t cube_root(uint64_t value) {
    uint64_t root = 0;
    for (int bit = 20; bit >= 0; bit--) {
        uint64_t next = root | UINT64_C(1) << bit;
        if (next * next * next <= value)
            root = next;
    }
    return root;
}

static void cubic_begin_epoch(struct tcp *tcp) {
    tcp->cubic.epoch = tcp_now(tcp);
    tcp->cubic.w_est_16 = (uint64_t)tcp->cwnd << 16;
    tcp->cwnd_count = 0;
    if (tcp->cwnd >= tcp->cubic.w_max) {
        tcp->cubic.origin = tcp->cwnd;
        tcp->cubic.k_ms = 0;
    } else {
        /* RFC 9438, 4.2, equation 2: K = cbrt((W_max - cwnd_epoch) / C), here in ms: C is per s^3 = 10^9 ms^3. */
        uint64_t cubed = (uint64_t)(tcp->cubic.w_max - tcp->cwnd) * 1000000000u * (uint64_t)CUBIC_C_DENOMINATOR /
                         (uint64_t)CUBIC_C_NUMERATOR;
        tcp->cubic.origin = tcp->cubic.w_max;
        tcp->cubic.k_ms = (uint32_t)cube_root(cubed);
    }
}

/* RFC 9438, 4.2, equation 1: W_cubic at `t` after the epoch began. */
static int64_t cubic_window(const struct tcp *tcp, int64_t t) {
    int64_t distance = t / NS_PER_MS - (int64_t)tcp->cubic.k_ms;
    distance = KMIN(KMAX(distance, -CUBIC_SPAN_MS), CUBIC_SPAN_MS);
    return (int64_t)tcp->cubic.origin +
           distance * distance * distance / (1000000000 * CUBIC_C_DENOMINATOR / CUBIC_C_NUMERATOR);
}

static void grow_by(struct tcp *tcp, uint64_t numerator) {
    uint64_t count = tcp->cwnd_count + numerator;
    while (count >= tcp->cwnd && tcp->cwnd < TCP_CWND_MAX) {
        count -= tcp->cwnd;
        tcp->cwnd++;
    }
    tcp->cwnd_count = (uint32_t)KMIN(count, (uint64_t)tcp->cwnd);
}

static void cubic_avoid(struct tcp *tcp, uint32_t segments) {
    if (tcp->cubic.epoch < 0)
        cubic_begin_epoch(tcp);
    int64_t elapsed = tcp_now(tcp) - tcp->cubic.epoch;
    int64_t target = cubic_window(tcp, elapsed + (tcp->srtt_8 >> 3));
    int64_t cwnd = tcp->cwnd;
    /* RFC 9438, 4.4: not more than 1.5 windows ahead. */
    target = KMIN(KMAX(target, cwnd), cwnd + cwnd / 2);

    /* RFC 9438, 4.3, but as Linux does it: alpha stays what it is when the window before the loss is reached again. */
    tcp->cubic.w_est_16 += (uint64_t)CUBIC_ALPHA_65536 * segments / tcp->cwnd;
    int64_t friendly = (int64_t)(tcp->cubic.w_est_16 >> 16);
    if (cubic_window(tcp, elapsed) < friendly)
        target = KMAX(target, friendly);
    grow_by(tcp, (uint64_t)segments * (uint64_t)(target - cwnd));
}

/* RFC 9406: slow start ends when a round's smallest delay has grown by an eighth over the last round's. */
void tcp_congestion_rtt(struct tcp *tcp, int64_t rtt) {
    if (tcp->settings.congestion != TCP_CUBIC || tcp->cwnd >= tcp->ssthresh)
        return;
    if (!tcp_before(tcp->snd_una, tcp->cubic.round_end)) {
        tcp->cubic.round_end = tcp->snd_nxt;
        tcp->cubic.last_round_min = tcp->cubic.round_min;
        tcp->cubic.round_min = 0;
        tcp->cubic.round_samples = 0;
    }
    if (!tcp->cubic.round_min || rtt < tcp->cubic.round_min)
        tcp->cubic.round_min = rtt;
    tcp->cubic.round_samples++;
    if (!tcp->cubic.last_round_min || tcp->cubic.round_samples < HYSTART_SAMPLES || tcp->cwnd < HYSTART_WINDOW_MIN)
        return;
    int64_t threshold = tcp->cubic.last_round_min / 8;
    threshold = KMIN(KMAX(threshold, HYSTART_THRESHOLD_MIN), HYSTART_THRESHOLD_MAX);
    if (tcp->cubic.round_min >= tcp->cubic.last_round_min + threshold)
        tcp->ssthresh = tcp->cwnd;
}

void tcp_congestion_acked(struct tcp *tcp, uint32_t segments) {
    if (tcp->cwnd < tcp->ssthresh) {
        /* RFC 3465 with L unlimited, as Linux counts: one segment for each that was acknowledged. */
        uint32_t grown = KMIN(segments, tcp->ssthresh - tcp->cwnd);
        tcp->cwnd = KMIN(tcp->cwnd + grown, TCP_CWND_MAX);
        segments -= grown;
        if (!segments)
            return;
    }
    if (tcp->settings.congestion == TCP_RENO)
        grow_by(tcp, segments);
    else
        cubic_avoid(tcp, segments);
}

void tcp_congestion_idle(struct tcp *tcp) {
    /* RFC 9438, 5.8: time in which nothing was sent does not count as time without loss. */
    if (tcp->cubic.epoch >= 0 && tcp->last_sent > 0 && tcp_now(tcp) > tcp->last_sent)
        tcp->cubic.epoch = KMIN(tcp->cubic.epoch + (tcp_now(tcp) - tcp->last_sent), tcp_now(tcp));
}
