#define _GNU_SOURCE
#include "markers.h"

#include <string.h>
#include <time.h>

#include "common.h"

/* "2026-11-20T10:30:00", and the same with ".123Z". */
#define SECOND_BYTES 19
#define TIME_BYTES 24

/* The sixteen hex digits that the publisher wrote: exact. */
static uint64_t sent_at_digits(const char *digits)
{
    uint64_t value = 0;

    for (int i = 0; i < 16; i++) {
        char digit = digits[i];
        value = value << 4 | (uint64_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return value;
}

static int number_at(const char *digits, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++)
        value = value * 10 + (digits[i] - '0');
    return value;
}

/* Wall-clock nanoseconds at the beginning of a second; the second before is remembered, most are the same. */
static uint64_t second_of(const char *text)
{
    static char known[SECOND_BYTES];
    static uint64_t value;

    if (memcmp(known, text, SECOND_BYTES) != 0) {
        struct tm parts = {
            .tm_year = number_at(text, 4) - 1900, .tm_mon = number_at(text + 5, 2) - 1, .tm_mday = number_at(text + 8, 2),
            .tm_hour = number_at(text + 11, 2), .tm_min = number_at(text + 14, 2), .tm_sec = number_at(text + 17, 2),
        };
        value = (uint64_t)timegm(&parts) * 1000000000u;
        memcpy(known, text, SECOND_BYTES);
    }
    return value;
}

/* The time of a position, "2026-11-20T10:30:00.123Z", which the publisher cut to the millisecond: the
 * message looks up to 1 ms older than it is, never younger. */
static uint64_t sent_at_time(const char *text)
{
    static uint64_t ahead; /* of the wall clock before now_ns(): one run is too short for them to drift apart */

    if (!ahead) {
        struct timespec time;
        clock_gettime(CLOCK_REALTIME, &time);
        ahead = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec - now_ns();
    }
    return second_of(text) + (uint64_t)number_at(text + SECOND_BYTES + 1, 3) * 1000000u - ahead;
}

#define START_OF_PAYLOAD "@@"
#define START_OF_TIME "\"time\":\""

static const struct marker OF_PAYLOAD = {START_OF_PAYLOAD, sizeof START_OF_PAYLOAD - 1, 20, sent_at_digits};
static const struct marker OF_TIME = {
    START_OF_TIME, sizeof START_OF_TIME - 1, sizeof START_OF_TIME - 1 + TIME_BYTES, sent_at_time,
};
_Static_assert(sizeof START_OF_TIME - 1 + TIME_BYTES <= MARKER_BYTES, "a marker has room");

const struct marker *marker_of(const struct options *options)
{
    return options->mark == MARK_TIME ? &OF_TIME : &OF_PAYLOAD;
}

static int in_window(const struct tally *tally)
{
    return tally->window_start_ns != 0 && tally->window_end_ns == 0;
}

/* A late delivery counts with its whole age, also after the window: else a server that falls behind
 * would look fast. */
static void count_delivery(struct tally *tally, uint64_t now, uint64_t sent)
{
    tally->delivered++;
    if (in_window(tally))
        tally->delivered_in_window++;
    if (tally->window_start_ns == 0 || sent < tally->window_start_ns)
        return;
    if (tally->window_end_ns == 0 || sent < tally->window_end_ns)
        histogram_add(&tally->latencies, now > sent ? now - sent : 0);
}

void markers_read(struct connection *connection, struct tally *tally, char *bytes, size_t size)
{
    const struct marker *marker = tally->marker;
    /* After the read: a marker that arrived while the loop was busy must not look sent in the future. */
    uint64_t now = now_ns();
    char *next = bytes - connection->cut_bytes;
    char *end = bytes + size;

    memcpy(next, connection->cut, connection->cut_bytes);
    connection->cut_bytes = 0;
    if (in_window(tally))
        tally->bytes_in_window += size;
    while ((next = memchr(next, marker->start[0], (size_t)(end - next))) != NULL) {
        size_t left = (size_t)(end - next);
        if (memcmp(next, marker->start, left < marker->start_bytes ? left : marker->start_bytes) != 0) {
            next++;
        } else if (left < marker->bytes) {
            connection->cut_bytes = (uint8_t)left;
            memcpy(connection->cut, next, left);
            return;
        } else {
            count_delivery(tally, now, marker->sent_at(next + marker->start_bytes));
            next += marker->bytes;
        }
    }
}
