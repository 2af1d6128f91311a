/* TCP over IPv6, and over a socket of both families that speaks IPv4: the same as over IPv4. */
#include "inet6.h"
#include "stream.h"

static bool mapped;

/* pair[0] is an IPv6 socket that talks to ::1, or to 127.0.0.1. */
static void connected(int pair[2]) {
    if (!mapped) {
        tcp6_pair(pair);
        return;
    }
    int listening = listener(8);
    pair[0] = socket6(SOCK_STREAM);
    MUST(connect6(pair[0], name6("::ffff:127.0.0.1", port_of(listening))));
    pair[1] = (int)MUST(accept(listening, NULL, NULL));
    close(listening);
}

int main(void) {
    begin();
    stream();
    mapped = true;
    data();
    halves();
    return 0;
}
