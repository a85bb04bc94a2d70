#define _GNU_SOURCE
#include "frames.h"

#include <string.h>

#include "common.h"
#include "wire.h"

void frames_send(int fd, int opcode, const void *payload, size_t size)
{
    unsigned char frame[FRAME_HEAD_BYTES + WIRE_BYTES];
    size_t head = frame_head(frame, opcode, size);

    memcpy(frame + head, payload, size);
    (void)write_all(fd, frame, head + size);
}

static size_t head_size(const uint8_t *head)
{
    int length = head[1] & 0x7f;

    return length == 127 ? 10 : length == 126 ? 4 : 2;
}

static uint64_t payload_size(const uint8_t *head)
{
    size_t size = head_size(head);
    uint64_t length = 0;

    if (size == 2)
        return head[1] & 0x7f;
    for (size_t i = 2; i < size; i++)
        length = length << 8 | head[i];
    return length;
}

static void end_frame(struct connection *connection, struct tally *tally)
{
    int opcode = connection->head[0] & 0x0f;

    if (opcode == OPCODE_PING)
        frames_send(connection->fd, OPCODE_PONG, connection->control, connection->control_bytes);
    if (opcode == OPCODE_CLOSE && connection->control_bytes >= 2)
        tally->last_close_code = connection->control[0] << 8 | connection->control[1];
    connection->head_bytes = 0;
    connection->control_bytes = 0;
}

/* Takes one byte of a frame's head; an empty frame ends with its head. */
static void read_head(struct connection *connection, struct tally *tally, uint8_t byte)
{
    connection->head[connection->head_bytes++] = byte;
    if (connection->head_bytes < 2 || connection->head_bytes < head_size(connection->head))
        return;
    connection->payload_left = payload_size(connection->head);
    if (connection->payload_left == 0)
        end_frame(connection, tally);
}

static void keep_control(struct connection *connection, const char *bytes, size_t size)
{
    size_t room = CONTROL_BYTES - connection->control_bytes;
    size_t kept = size < room ? size : room;

    memcpy(connection->control + connection->control_bytes, bytes, kept);
    connection->control_bytes = (uint8_t)(connection->control_bytes + kept);
}

void frames_read(struct connection *connection, struct tally *tally, const char *bytes, size_t size)
{
    while (size > 0) {
        if (connection->payload_left == 0) {
            read_head(connection, tally, (uint8_t)*bytes++);
            size--;
            continue;
        }
        size_t taken = connection->payload_left < size ? (size_t)connection->payload_left : size;
        if (connection->head[0] & 0x08)
            keep_control(connection, bytes, taken);
        bytes += taken;
        size -= taken;
        connection->payload_left -= taken;
        if (connection->payload_left == 0)
            end_frame(connection, tally);
    }
}

/* The sixteen hex digits of a marker, as the time when it was sent. */
static uint64_t sent_at(const char *digits)
{
    uint64_t value = 0;

    for (int i = 0; i < 16; i++) {
        char digit = digits[i];
        value = value << 4 | (uint64_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return value;
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
        histogram_add(&tally->latencies, now - sent);
}

void markers_read(struct connection *connection, struct tally *tally, char *bytes, size_t size)
{
    /* After the read: a marker that arrived while the loop was busy must not look sent in the future. */
    uint64_t now = now_ns();
    char *next = bytes - connection->cut_bytes;
    char *end = bytes + size;

    memcpy(next, connection->cut, connection->cut_bytes);
    connection->cut_bytes = 0;
    if (in_window(tally))
        tally->bytes_in_window += size;
    while ((next = memchr(next, '@', (size_t)(end - next))) != NULL) {
        if (end - next < MARKER_BYTES) {
            connection->cut_bytes = (uint8_t)(end - next);
            memcpy(connection->cut, next, connection->cut_bytes);
            return;
        }
        if (next[1] == '@') {
            count_delivery(tally, now, sent_at(next + 2));
            next += MARKER_BYTES;
        } else {
            next++;
        }
    }
}
