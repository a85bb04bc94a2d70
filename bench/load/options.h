/* The command line of the load generator. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdint.h>

#define MAX_HEADERS 8
#define MAX_PROCESSES 8

/* How a socket says which devices it wants, once it is open. */
enum protocol {
    PROTOCOL_URL,  /* it has said so in the URL: the bridge, the floor, nchan */
    PROTOCOL_MQTT, /* MQTT over WebSocket */
    PROTOCOL_NATS, /* NATS over WebSocket */
};

/* What tells a delivery, and how old it is. */
enum mark {
    MARK_PAYLOAD, /* the publisher's own marker, where payloads are forwarded as they are: exact */
    MARK_TIME,    /* the time of a position, where nothing else of the payload is: to 1 ms */
};

struct named_process {
    const char *name;
    int pid;
};

struct options {
    const char *host;
    int port;
    const char *path;   /* %D stands for the socket's devices, %I for its number, %T for its token */
    const char *tokens; /* NULL, or a file of tokens, one a line; the sockets take them in turn */
    const char *subprotocol;
    enum protocol protocol;
    const char *headers[MAX_HEADERS];
    int header_count;

    int sockets; /* that read */
    int stalled; /* beside them, that never read */
    int devices;
    int watch;   /* devices of each socket */
    int sources; /* source addresses; 0 means as many as are needed */
    int opening; /* handshakes in flight at once */

    const char *mqtt_host;
    int mqtt_port;
    const char *mqtt_user;
    const char *mqtt_password;
    const char *http_publish; /* NULL, or the path to POST to; %D stands for the device */
    double rate;              /* messages per second of all devices; 0 publishes nothing */
    int burst;                /* messages sent together */
    int padding;              /* bytes added to each payload */
    enum mark mark;
    uint64_t messages;        /* stop after so many; 0 means when the time is over */

    double settle; /* seconds between the last handshake and the first message */
    double warm;   /* seconds of load that are not measured */
    double seconds;
    double drain; /* longest wait for what is still on its way at the end */

    struct named_process processes[MAX_PROCESSES]; /* the first one is the server under test */
    int process_count;
};

/* Reads the command line; prints help or the mistake and exits where it cannot. */
struct options read_options(int count, char **arguments);

#endif
