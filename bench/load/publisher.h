/* The thread that publishes: every device in turn, at a fixed rate, whatever the readers do.
 *
 * Every payload says twice when it was sent: "@@", sixteen hex digits (now_ns), "@@"; and as a tracker
 * does, by the wall clock, cut to the millisecond. */
#ifndef BENCH_PUBLISHER_H
#define BENCH_PUBLISHER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "options.h"

struct publisher {
    const struct options *options;
    pthread_t thread;
    int fd;
    char *padding;
    uint64_t sequence;
    _Atomic uint64_t published;
    _Atomic uint64_t late_ns; /* the longest that a burst went out after its time */
    _Atomic int stop;
    _Atomic int finished; /* the thread has sent its last message */
};

/* Connects and starts the thread. Ends the program when the MQTT broker refuses. */
void publisher_start(struct publisher *publisher, const struct options *options);

/* Frees what publisher_start made. Set `stop` and see `finished` first, else it blocks for a while. */
void publisher_end(struct publisher *publisher);

#endif
