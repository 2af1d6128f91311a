/* Urgent data of TCP over IPv6. */
#include "inet6.h"
#include "urgent_data.h"

static void connected(int pair[2]) {
    tcp6_pair(pair);
    set_option(pair[0], IPPROTO_TCP, TCP_NODELAY, 1);
}

int main(void) {
    begin();
    marks();
    waits();
    owners();
    ends();
    return 0;
}
