/* The floor: the least that any server must do for this job, to compare with.
 *
 * One thread reads MQTT PUBLISH packets from the broker and writes each payload as one WebSocket text
 * frame to every open socket with send(2). No filter, no queue, no authentication, no limit: it is not
 * a server to use. A socket that cannot take a whole frame at once is closed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_SOCKETS 100000
#define EVENTS 256
#define BACKLOG 4096
#define MQTT_READ_BYTES (1 << 20)
/* Payloads above 64 KiB would need the longer frame head; the load generator sends none. */
#define MAX_PAYLOAD_BYTES 65535
#define REQUEST_BYTES 8192
#define MAX_FILTER_BYTES 100

struct floor_server {
    int epoll;
    int listener;
    int mqtt;
    int sockets[MAX_SOCKETS];
    int socket_count;
    unsigned char input[MQTT_READ_BYTES];
    size_t input_bytes;
    unsigned char frame[4 + MAX_PAYLOAD_BYTES];
};

/* The answer to the sample key of RFC 6455, which the load generator always sends. */
static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, errno ? strerror(errno) : "unexpected answer");
    exit(1);
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch_readable(struct floor_server *server, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

/* Connects to the MQTT broker and subscribes with QoS 0; both answers have a known size. */
static void subscribe(struct floor_server *server, int port, const char *filter)
{
    struct sockaddr_in address = loopback(port);
    unsigned char hello[] = {0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 5, 'f', 'l', 'o', 'o', 'r'};
    unsigned char packet[16 + MAX_FILTER_BYTES] = {0x82, 0, 0, 1, 0, 0};
    unsigned char answer[5];
    size_t length = strlen(filter);

    if (length > MAX_FILTER_BYTES)
        fail("the topic filter is too long");
    server->mqtt = socket(AF_INET, SOCK_STREAM, 0);
    if (server->mqtt < 0 || connect(server->mqtt, (struct sockaddr *)&address, sizeof address) != 0)
        fail("MQTT broker");
    if (write(server->mqtt, hello, sizeof hello) != sizeof hello || recv(server->mqtt, answer, 4, MSG_WAITALL) != 4)
        fail("MQTT connect");
    packet[1] = (unsigned char)(length + 5);
    packet[5] = (unsigned char)length;
    memcpy(packet + 6, filter, length);
    if (write(server->mqtt, packet, length + 7) != (ssize_t)length + 7 ||
        recv(server->mqtt, answer, 5, MSG_WAITALL) != 5 || answer[4] == 0x80)
        fail("MQTT subscribe");
    watch_readable(server, server->mqtt);
}

static void listen_on(struct floor_server *server, int port)
{
    struct sockaddr_in address = loopback(port);
    int one = 1;

    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server->listener, (struct sockaddr *)&address, sizeof address) != 0)
        fail("bind");
    if (listen(server->listener, BACKLOG) != 0)
        fail("listen");
    watch_readable(server, server->listener);
}

static void accept_one(struct floor_server *server)
{
    int one = 1;
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK);

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch_readable(server, fd);
}

static void drop(struct floor_server *server, int fd)
{
    for (int i = 0; i < server->socket_count; i++) {
        if (server->sockets[i] == fd) {
            server->sockets[i] = server->sockets[--server->socket_count];
            break;
        }
    }
    close(fd);
}

/* A client sends its request in one segment, and afterwards nothing that matters here. */
static void read_client(struct floor_server *server, int fd)
{
    char request[REQUEST_BYTES];
    ssize_t got = read(fd, request, sizeof request);

    if (got <= 0) {
        drop(server, fd);
        return;
    }
    if (got < 4 || memcmp(request, "GET ", 4) != 0)
        return;
    if (server->socket_count == MAX_SOCKETS || write(fd, ANSWER, sizeof ANSWER - 1) != (ssize_t)sizeof ANSWER - 1) {
        drop(server, fd);
        return;
    }
    server->sockets[server->socket_count++] = fd;
}

static void send_to_all(struct floor_server *server, const unsigned char *payload, size_t size)
{
    size_t head = 2;

    if (size > MAX_PAYLOAD_BYTES)
        return;
    server->frame[0] = 0x81;
    server->frame[1] = (unsigned char)size;
    if (size >= 126) {
        server->frame[1] = 126;
        server->frame[2] = (unsigned char)(size >> 8);
        server->frame[3] = (unsigned char)size;
        head = 4;
    }
    memcpy(server->frame + head, payload, size);
    /* Backwards, since drop() moves the last socket into the gap. */
    for (int i = server->socket_count - 1; i >= 0; i--) {
        ssize_t sent = send(server->sockets[i], server->frame, head + size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent != (ssize_t)(head + size))
            drop(server, server->sockets[i]);
    }
}

/* Sends on every whole PUBLISH at the start of the input; returns the bytes that were used. */
static size_t read_packets(struct floor_server *server)
{
    size_t start = 0;

    for (;;) {
        size_t next = start + 1;
        size_t length = 0;
        int shift = 0;
        do {
            if (next >= server->input_bytes)
                return start;
            length |= (size_t)(server->input[next] & 127) << shift;
            shift += 7;
        } while (server->input[next++] & 128);
        if (next + length > server->input_bytes)
            return start;
        if ((server->input[start] & 0xf0) == 0x30) {
            size_t topic = 2 + (size_t)(server->input[next] << 8 | server->input[next + 1]);
            send_to_all(server, server->input + next + topic, length - topic);
        }
        start = next + length;
    }
}

static void read_mqtt(struct floor_server *server)
{
    ssize_t got = read(server->mqtt, server->input + server->input_bytes, MQTT_READ_BYTES - server->input_bytes);

    if (got <= 0)
        fail("the MQTT broker closed the connection");
    server->input_bytes += (size_t)got;
    size_t used = read_packets(server);
    server->input_bytes -= used;
    memmove(server->input, server->input + used, server->input_bytes);
}

static void serve(struct floor_server *server)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int count = epoll_wait(server->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == server->listener)
                accept_one(server);
            else if (events[i].data.fd == server->mqtt)
                read_mqtt(server);
            else
                read_client(server, events[i].data.fd);
        }
    }
}

static int port_of(const char *text)
{
    int port = atoi(text);

    if (port < 1 || port > 65535) {
        fprintf(stderr, "floor: '%s' is not a port\n", text);
        exit(2);
    }
    return port;
}

int main(int count, char **arguments)
{
    static struct floor_server server; /* too large for the stack */
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'}, {"mqtt-port", required_argument, NULL, 'm'},
        {"filter", required_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    struct rlimit limit;
    const char *filter = "fleet/#";
    int port = 8000;
    int mqtt_port = 1883;

    for (int option; (option = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        switch (option) {
        case 'p': port = port_of(optarg); break;
        case 'm': mqtt_port = port_of(optarg); break;
        case 'f': filter = optarg; break;
        default:
            puts("usage: floor [--port N] [--mqtt-port N] [--filter TOPIC_FILTER]");
            return option == 'h' ? 0 : 2;
        }
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    server.epoll = epoll_create1(0);
    subscribe(&server, mqtt_port, filter); /* before listening: an open port means ready */
    listen_on(&server, port);
    serve(&server);
}
