/* What terminals show. */
#ifndef TERMINAL_OUTPUT_H
#define TERMINAL_OUTPUT_H

#include "facts.h"

#include <poll.h>
#include <unistd.h>

/* What comes out of a descriptor until nothing more does: what is echoed and printed comes in parts. */
UNUSED_FUNCTION void put_all(const char *what, int fd) {
    char bytes[4096];
    size_t length = 0;
    struct pollfd entry = {fd, POLLIN, 0};
    while (length < sizeof bytes && poll(&entry, 1, 50) == 1 && (entry.revents & POLLIN)) {
        ssize_t got = read(fd, bytes + length, sizeof bytes - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    put_bytes(what, bytes, length);
}

#endif
