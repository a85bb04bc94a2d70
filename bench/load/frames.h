/* What happens on an open socket: frames in, pings answered. */
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <stddef.h>

#include "sockets.h"

#define OPCODE_BINARY 2
#define OPCODE_CLOSE 8
#define OPCODE_PING 9
#define OPCODE_PONG 10

/* Sends one client frame. A peer that has gone is noticed when the socket is read. */
void frames_send(int fd, int opcode, const void *payload, size_t size);

/* Follows the frames in these bytes: answers pings, remembers the code of a Close. */
void frames_read(struct connection *connection, struct tally *tally, const char *bytes, size_t size);

#endif
