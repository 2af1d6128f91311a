/* The error queue of datagram sockets: IP_RECVERR, IPV6_RECVERR and what recvmsg with MSG_ERRQUEUE gives (ip(7)).
 *
 * icmp.c and udp.c put errors in, timestamping.c the times of sending; socket.c takes them out and writes them as
 * control data. The next error of the queue is also the socket's pending error, as in Linux.
 */
#include "socket.h"

#include <linux/time.h> /* errqueue.h needs it */

#include <linux/errqueue.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/poll.h>

struct queued_error {
    struct queued_error *next;
    struct extended_error error;
    struct ip_address destination; /* where the datagram went to */
    uint16_t port;
    uint32_t length, charge;
    uint8_t data[]; /* of the datagram, as much as was quoted */
};

static bool from_network(const struct queued_error *queued) {
    return queued->error.origin == SO_EE_ORIGIN_ICMP || queued->error.origin == SO_EE_ORIGIN_ICMP6;
}

void error_queue_add(struct socket *socket, const struct extended_error *error, struct ip_address destination,
                     uint16_t port, const uint8_t *data, uint32_t length) {
    uint32_t charge = packet_charge(length);
    if (socket->receive_used + charge >= socket->receive_buffer)
        return;
    struct queued_error *queued = kalloc(socket->host, sizeof *queued + length);
    if (!queued)
        return;
    queued->error = *error;
    queued->destination = destination;
    queued->port = port;
    queued->length = length;
    queued->charge = charge;
    if (length)
        memcpy(queued->data, data, length);
    socket->receive_used += charge;
    *(socket->errors ? &socket->last_error->next : &socket->errors) = queued;
    socket->last_error = queued;
    socket_wake(socket, POLLERR);
}

static struct queued_error *take(struct socket *socket) {
    struct queued_error *queued = socket->errors;
    if (queued) {
        socket->errors = queued->next;
        socket->receive_used -= queued->charge;
    }
    return queued;
}

void error_queue_clear(struct socket *socket) {
    for (struct queued_error *queued; (queued = take(socket)) != NULL;)
        kfree(socket->host, queued);
}

/* Addresses of an IPv4 error on an IPv6 socket are IPv4-mapped ones. */
int64_t error_queue_receive(struct socket *socket, struct uio *to, struct socket_message *message) {
    struct queued_error *queued = take(socket);
    if (!queued)
        return -EAGAIN;
    bool more = socket->errors && from_network(socket->errors);
    if (more || from_network(queued))
        socket->error = more ? socket->errors->error.number : 0;
    uint32_t copied = (uint32_t)KMIN((uint64_t)queued->length, (uint64_t)to->remaining);
    int error = uio_copy_out(to, queued->data, copied);
    message->out_flags |= MSG_ERRQUEUE | (queued->length > copied ? MSG_TRUNC : 0);
    message->has_error = true;
    message->error = queued->error;
    message->has_time = queued->error.has_time;
    message->time = queued->error.time;
    if (queued->error.origin == SO_EE_ORIGIN_TIMESTAMPING)
        timestamping_describe(socket, queued->data, queued->length, message);
    else
        message->name_length = inet_put_name(message->name, socket->family, queued->destination, queued->port, 0);
    kfree(socket->host, queued);
    return error ? error : (int64_t)copied;
}

uint32_t error_queue_control(const struct socket *socket, const struct extended_error *error,
                             uint8_t control[ERROR_CONTROL_MAX]) {
    struct sock_extended_err *shown = (struct sock_extended_err *)(void *)control;
    memset(control, 0, ERROR_CONTROL_MAX);
    shown->ee_errno = (uint32_t)error->number;
    shown->ee_origin = error->origin;
    shown->ee_type = error->type;
    shown->ee_code = error->code;
    shown->ee_info = error->info;
    shown->ee_data = error->data;
    uint32_t length = (uint32_t)(socket->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (error->has_offender)
        (void)inet_put_name(control + sizeof *shown, socket->family, error->offender, 0, 0);
    return (uint32_t)sizeof *shown + length;
}
