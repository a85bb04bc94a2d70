#include "wire.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

#define MQTT_CONNECT 0x10
#define MQTT_PUBLISH 0x30
#define MQTT_SUBSCRIBE 0x82
#define MQTT_CLEAN_SESSION 0x02
#define MQTT_HAS_PASSWORD 0x40
#define MQTT_HAS_USER 0x80
/* A packet's "remaining length" takes at most four bytes (MQTT 3.1.1 section 2.2.3). */
#define MQTT_HEAD_BYTES 5

size_t frame_head(unsigned char *out, int opcode, size_t payload_bytes)
{
    size_t size = 0;

    out[size++] = (unsigned char)(0x80 | opcode);
    if (payload_bytes < 126) {
        out[size++] = (unsigned char)(0x80 | payload_bytes);
    } else {
        /* Client frames of this program stay below WIRE_BYTES: 16 bits are enough. */
        out[size++] = 0x80 | 126;
        out[size++] = (unsigned char)(payload_bytes >> 8);
        out[size++] = (unsigned char)payload_bytes;
    }
    memset(out + size, 0, 4);
    return size + 4;
}

static size_t put_string(unsigned char *out, const char *text)
{
    size_t size = strlen(text);

    out[0] = (unsigned char)(size >> 8);
    out[1] = (unsigned char)size;
    memcpy(out + 2, text, size);
    return size + 2;
}

static size_t put_packet_head(unsigned char *out, int type, size_t remaining)
{
    size_t size = 0;

    out[size++] = (unsigned char)type;
    do {
        out[size] = remaining % 128;
        remaining /= 128;
        if (remaining)
            out[size] |= 128;
        size++;
    } while (remaining);
    return size;
}

size_t mqtt_connect(unsigned char *out, const char *client_id, const char *user, const char *password)
{
    unsigned char body[1024] = {0, 4, 'M', 'Q', 'T', 'T', 4, MQTT_CLEAN_SESSION};
    size_t size = 10;

    if (strlen(client_id) + (user ? strlen(user) : 0) + (password ? strlen(password) : 0) > 900)
        fail(EXIT_USAGE, "MQTT user and password are too long");
    body[7] |= (user ? MQTT_HAS_USER : 0) | (password ? MQTT_HAS_PASSWORD : 0);
    size += put_string(body + size, client_id);
    if (user)
        size += put_string(body + size, user);
    if (password)
        size += put_string(body + size, password);
    size_t head = put_packet_head(out, MQTT_CONNECT, size);
    memcpy(out + head, body, size);
    return head + size;
}

size_t mqtt_publish(unsigned char *out, const char *topic, const char *payload, size_t payload_bytes)
{
    size_t size = put_packet_head(out, MQTT_PUBLISH, 2 + strlen(topic) + payload_bytes);

    size += put_string(out + size, topic);
    memcpy(out + size, payload, payload_bytes);
    return size + payload_bytes;
}

int device_id_of(char *out, int device)
{
    return snprintf(out, TOPIC_BYTES, "dev%05d", device);
}

int topic_of(char *out, int device)
{
    return snprintf(out, TOPIC_BYTES, "fleet/dev%05d/position", device);
}

static int device_at(struct watch watch, int position)
{
    return (int)(((long)watch.first + position) % watch.devices);
}

static void check_room(size_t size)
{
    if (size + 2 * TOPIC_BYTES > WIRE_BYTES)
        fail(EXIT_USAGE, "--watch is too large: one subscription would exceed %d bytes", WIRE_BYTES);
}

size_t mqtt_subscribe(unsigned char *out, struct watch watch)
{
    static unsigned char body[WIRE_BYTES];
    char topic[TOPIC_BYTES];
    size_t size = 0;

    body[size++] = 0;
    body[size++] = 1;
    for (int position = 0; position < watch.count; position++) {
        topic_of(topic, device_at(watch, position));
        size += put_string(body + size, topic);
        body[size++] = 0;
        check_room(size + MQTT_HEAD_BYTES);
    }
    size_t head = put_packet_head(out, MQTT_SUBSCRIBE, size);
    memcpy(out + head, body, size);
    return head + size;
}

size_t nats_subscribe(char *out, struct watch watch)
{
    size_t size = (size_t)sprintf(out, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");

    for (int position = 0; position < watch.count; position++) {
        /* NATS maps the MQTT topic a/b/c to the subject a.b.c. */
        int device = device_at(watch, position);
        size += (size_t)sprintf(out + size, "SUB fleet.dev%05d.position %d\r\n", device, position + 1);
        check_room(size);
    }
    return size;
}

size_t device_list(char *out, struct watch watch)
{
    size_t size = 0;

    out[0] = 0;
    for (int position = 0; position < watch.count; position++) {
        if (position)
            out[size++] = ',';
        size += (size_t)device_id_of(out + size, device_at(watch, position));
        check_room(size);
    }
    return size;
}
