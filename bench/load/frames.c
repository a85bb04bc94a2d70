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
