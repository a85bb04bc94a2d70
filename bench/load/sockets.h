/* The WebSockets of the load generator: handshake, frames, deliveries. One thread uses them. */
#ifndef BENCH_SOCKETS_H
#define BENCH_SOCKETS_H

#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "options.h"
#include "tokens.h"

/* Largest control frame payload (RFC 6455 section 5.5). */
#define CONTROL_BYTES 125
/* Largest head of a server's frame: 2 bytes and an extended length of 8; servers do not mask. */
#define SERVER_HEAD_BYTES 10
/* Longest marker (markers.h). */
#define MARKER_BYTES 32

struct marker;

enum state { STATE_CONNECTING, STATE_UPGRADING, STATE_OPEN, STATE_CLOSED };

struct connection {
    int fd;
    int index;
    uint8_t state;
    uint8_t stalled;

    /* Where we are in the server's frames. */
    uint8_t head[SERVER_HEAD_BYTES];
    uint8_t head_bytes;
    uint8_t control_bytes;
    uint64_t payload_left;
    uint8_t control[CONTROL_BYTES];

    /* The start of a marker that was cut by the end of a read. */
    uint8_t cut_bytes;
    char cut[MARKER_BYTES];

    /* The answer to the handshake so far; NULL once open. */
    char *answer;
    size_t answer_bytes;
};

struct tally {
    const struct marker *marker;
    struct histogram latencies; /* of messages that were sent inside the window, whenever they came */
    uint64_t window_start_ns;
    uint64_t window_end_ns; /* 0 while the window is not over */
    uint64_t delivered;
    uint64_t delivered_in_window; /* came inside the window: what the CPU time of the window was spent on */
    uint64_t bytes_in_window;
    int closed;          /* reading sockets that the server closed */
    int last_close_code; /* 0: none seen */
};

struct sockets {
    const struct options *options;
    struct tokens tokens; /* none: count is 0 */
    struct connection *all;
    int count;
    int started;
    int opened;
    int epoll;
    struct tally tally;
};

/* Prepares `options->sockets + options->stalled` sockets; opens none. */
void sockets_prepare(struct sockets *sockets, const struct options *options);

/* Opens them all; ends the program with the server's answer when one is refused. */
void sockets_open(struct sockets *sockets);

/* Waits at most `timeout_ms` and reads what has come. Returns the number of sockets that had something. */
int sockets_read(struct sockets *sockets, int timeout_ms);

/* Stalled sockets that the server has cut by now. */
int sockets_count_cut(const struct sockets *sockets);

/* Deliveries that `published` messages in all must give, from the first device on, each in turn. */
uint64_t sockets_expected(const struct options *options, uint64_t published);

#endif
