/* Markers: what tells a delivery, and when its message was sent. */
#ifndef BENCH_MARKERS_H
#define BENCH_MARKERS_H

#include <stddef.h>
#include <stdint.h>

#include "sockets.h"

/* One kind of marker: `start`, then what says the time, `bytes` in all. */
struct marker {
    const char *start;
    size_t start_bytes;
    size_t bytes;                      /* at most MARKER_BYTES */
    uint64_t (*sent_at)(const char *); /* of what follows `start`, as now_ns() */
};

/* The marker that the options ask for. */
const struct marker *marker_of(const struct options *options);

/* Counts the markers in these bytes. MARKER_BYTES before `bytes` must be writable: a marker that the
 * last read had cut is put together there. Markers are found in the raw stream and not per frame, so
 * this works for JSON, MQTT and NATS alike, as long as the server does not compress. */
void markers_read(struct connection *connection, struct tally *tally, char *bytes, size_t size);

#endif
