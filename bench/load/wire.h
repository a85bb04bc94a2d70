/* Bytes on the wire: WebSocket frames (RFC 6455), MQTT 3.1.1 packets and NATS lines. Pure functions. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stddef.h>

/* Upper bound of what one client sends when it subscribes: 1,000 topics of 60 bytes. */
#define WIRE_BYTES 65000
/* Longest topic or device id made from a pattern. */
#define TOPIC_BYTES 128
/* Longest token in a path: servers take request lines of 8 KiB. */
#define TOKEN_BYTES 4096
/* Head of a client's frame: 2 bytes, an extended length of 8, a mask of 4. */
#define FRAME_HEAD_BYTES 14

/* Writes the head of a client's WebSocket frame; the mask is zero, so the payload goes out as it is. */
size_t frame_head(unsigned char *out, int opcode, size_t payload_bytes);

/* An MQTT CONNECT with a clean session and no keep-alive; user and password may be NULL. */
size_t mqtt_connect(unsigned char *out, const char *client_id, const char *user, const char *password);

/* An MQTT PUBLISH with QoS 0. */
size_t mqtt_publish(unsigned char *out, const char *topic, const char *payload, size_t payload_bytes);

/* The devices that one socket watches: `count` of `devices`, from `first` on, wrapping. */
struct watch {
    int first;
    int count;
    int devices;
};

/* device_id and MQTT topic of device number `device`; both write at most TOPIC_BYTES. */
int device_id_of(char *out, int device);
int topic_of(char *out, int device);

/* Each writes at most WIRE_BYTES and returns the size; a watch that needs more ends the program. */
size_t mqtt_subscribe(unsigned char *out, struct watch watch);
size_t nats_subscribe(char *out, struct watch watch);
size_t device_list(char *out, struct watch watch);

#endif
