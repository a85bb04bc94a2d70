#define _GNU_SOURCE
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "wire.h"

/* Sockets that one source address can open to one server: 28,232 in the kernel's default port range
 * (ip_local_port_range 32768 to 60999), less a reserve for ports still in TIME_WAIT. */
#define SOCKETS_PER_SOURCE 20000
#define MAX_SOCKETS 1000000
#define MAX_DEVICES 100000
#define MAX_PADDING 60000

static const char HELP[] =
    "usage: load [options]\n"
    "Opens WebSockets, publishes over MQTT, counts what arrives, prints one JSON object.\n"
    "\n"
    "The server under test\n"
    "  --host A            IPv4 address (127.0.0.1)\n"
    "  --port N            port (8000)\n"
    "  --path P            request path; %D = the socket's device ids, %I = its number, %T = its token (/)\n"
    "  --tokens FILE       tokens, one a line; the sockets take them in turn\n"
    "  --header 'K: V'     request header, up to 8 times\n"
    "  --subprotocol S     Sec-WebSocket-Protocol\n"
    "  --protocol P        how to subscribe: url, mqtt or nats (url)\n"
    "\n"
    "Sockets\n"
    "  --sockets N         sockets that read (100)\n"
    "  --stalled N         more sockets, with a tiny receive buffer, that never read (0)\n"
    "  --devices N         devices that publish in turn (1)\n"
    "  --watch N           devices that each socket watches (1)\n"
    "  --sources N         source addresses 127.0.1.1, 127.0.1.2, … (one per 20000 sockets)\n"
    "  --opening N         handshakes in flight at once (128)\n"
    "\n"
    "Messages\n"
    "  --mqtt-host A, --mqtt-port N, --mqtt-user U, --mqtt-password P\n"
    "                      the MQTT broker (127.0.0.1, 1883)\n"
    "  --http-publish P    POST to this path of --mqtt-host and --mqtt-port instead; %D = device id\n"
    "  --rate R            messages per second, all devices together; 0 = none (10)\n"
    "  --burst N           messages sent together (1)\n"
    "  --padding N         bytes added to each payload of about 150 (60)\n"
    "  --mark M            what tells a delivery: payload, the publisher's own marker; or time, for a server\n"
    "                      that shows positions only: its \"time\":\"…Z\", which is up to 1 ms early (payload)\n"
    "  --messages N        stop after N messages, the warm ones included (0 = by time only)\n"
    "\n"
    "Time, in seconds\n"
    "  --settle S          after the handshakes, before the first message (1)\n"
    "  --warm S            load that is not measured (1)\n"
    "  --seconds S         measured window (3)\n"
    "  --drain S           longest wait for the last deliveries (3)\n"
    "\n"
    "  --process NAME=PID  report CPU and memory of this process, up to 8 times; first the server\n"
    "  --help              this text\n";

enum {
    HOST = 256, PORT, PATH, TOKENS, HEADER, SUBPROTOCOL, PROTOCOL, SOCKETS, STALLED, DEVICES, WATCH, SOURCES, OPENING,
    MQTT_HOST, MQTT_PORT, MQTT_USER, MQTT_PASSWORD, HTTP_PUBLISH, RATE, BURST, PADDING, MARK, MESSAGES,
    SETTLE, WARM, SECONDS, DRAIN, PROCESS, SHOW_HELP,
};

static const struct option NAMES[] = {
    {"host", required_argument, NULL, HOST},
    {"port", required_argument, NULL, PORT},
    {"path", required_argument, NULL, PATH},
    {"tokens", required_argument, NULL, TOKENS},
    {"header", required_argument, NULL, HEADER},
    {"subprotocol", required_argument, NULL, SUBPROTOCOL},
    {"protocol", required_argument, NULL, PROTOCOL},
    {"sockets", required_argument, NULL, SOCKETS},
    {"stalled", required_argument, NULL, STALLED},
    {"devices", required_argument, NULL, DEVICES},
    {"watch", required_argument, NULL, WATCH},
    {"sources", required_argument, NULL, SOURCES},
    {"opening", required_argument, NULL, OPENING},
    {"mqtt-host", required_argument, NULL, MQTT_HOST},
    {"mqtt-port", required_argument, NULL, MQTT_PORT},
    {"mqtt-user", required_argument, NULL, MQTT_USER},
    {"mqtt-password", required_argument, NULL, MQTT_PASSWORD},
    {"http-publish", required_argument, NULL, HTTP_PUBLISH},
    {"rate", required_argument, NULL, RATE},
    {"burst", required_argument, NULL, BURST},
    {"padding", required_argument, NULL, PADDING},
    {"mark", required_argument, NULL, MARK},
    {"messages", required_argument, NULL, MESSAGES},
    {"settle", required_argument, NULL, SETTLE},
    {"warm", required_argument, NULL, WARM},
    {"seconds", required_argument, NULL, SECONDS},
    {"drain", required_argument, NULL, DRAIN},
    {"process", required_argument, NULL, PROCESS},
    {"help", no_argument, NULL, SHOW_HELP},
    {NULL, 0, NULL, 0},
};

/* A number between `low` and `high`, or the program ends and names the option. */
static double number(const char *name, double low, double high)
{
    char *end = NULL;
    double value = strtod(optarg, &end);

    if (end == optarg || *end || !(value >= low && value <= high))
        fail(EXIT_USAGE, "--%s takes a number from %.0f to %.0f, not '%s'", name, low, high, optarg);
    return value;
}

static enum protocol protocol_of(const char *text)
{
    if (strcmp(text, "url") == 0)
        return PROTOCOL_URL;
    if (strcmp(text, "mqtt") == 0)
        return PROTOCOL_MQTT;
    if (strcmp(text, "nats") == 0)
        return PROTOCOL_NATS;
    fail(EXIT_USAGE, "--protocol is url, mqtt or nats, not '%s'", text);
}

static enum mark mark_of(const char *text)
{
    if (strcmp(text, "payload") == 0)
        return MARK_PAYLOAD;
    if (strcmp(text, "time") == 0)
        return MARK_TIME;
    fail(EXIT_USAGE, "--mark is payload or time, not '%s'", text);
}

static void add_process(struct options *options)
{
    char *equals = strchr(optarg, '=');

    if (!equals || atoi(equals + 1) <= 0)
        fail(EXIT_USAGE, "--process takes NAME=PID, not '%s'", optarg);
    if (options->process_count == MAX_PROCESSES)
        fail(EXIT_USAGE, "--process can be given %d times", MAX_PROCESSES);
    *equals = 0;
    options->processes[options->process_count].name = optarg;
    options->processes[options->process_count].pid = atoi(equals + 1);
    options->process_count++;
}

static void add_header(struct options *options)
{
    if (options->header_count == MAX_HEADERS)
        fail(EXIT_USAGE, "--header can be given %d times", MAX_HEADERS);
    if (strpbrk(optarg, "\r\n") || !strchr(optarg, ':'))
        fail(EXIT_USAGE, "--header takes 'Name: value' on one line");
    options->headers[options->header_count++] = optarg;
}

/* Options whose value is text; 0 when `option` is not one of them. */
static int read_text(struct options *options, int option)
{
    switch (option) {
    case HOST: options->host = optarg; return 1;
    case PATH: options->path = optarg; return 1;
    case TOKENS: options->tokens = optarg; return 1;
    case SUBPROTOCOL: options->subprotocol = optarg; return 1;
    case PROTOCOL: options->protocol = protocol_of(optarg); return 1;
    case HEADER: add_header(options); return 1;
    case PROCESS: add_process(options); return 1;
    case MQTT_HOST: options->mqtt_host = optarg; return 1;
    case MQTT_USER: options->mqtt_user = optarg; return 1;
    case MQTT_PASSWORD: options->mqtt_password = optarg; return 1;
    case MARK: options->mark = mark_of(optarg); return 1;
    case HTTP_PUBLISH: options->http_publish = optarg; return 1;
    default: return 0;
    }
}

static void read_number(struct options *options, int option, const char *name)
{
    switch (option) {
    case PORT: options->port = (int)number(name, 1, 65535); break;
    case SOCKETS: options->sockets = (int)number(name, 1, MAX_SOCKETS); break;
    case STALLED: options->stalled = (int)number(name, 0, MAX_SOCKETS); break;
    case DEVICES: options->devices = (int)number(name, 1, MAX_DEVICES); break;
    case WATCH: options->watch = (int)number(name, 1, MAX_DEVICES); break;
    case SOURCES: options->sources = (int)number(name, 1, 250); break;
    case OPENING: options->opening = (int)number(name, 1, 4096); break;
    case MQTT_PORT: options->mqtt_port = (int)number(name, 1, 65535); break;
    case RATE: options->rate = number(name, 0, 10e6); break;
    case BURST: options->burst = (int)number(name, 1, 10000); break;
    case PADDING: options->padding = (int)number(name, 0, MAX_PADDING); break;
    case MESSAGES: options->messages = (uint64_t)number(name, 0, 1e12); break;
    case SETTLE: options->settle = number(name, 0, 3600); break;
    case WARM: options->warm = number(name, 0, 3600); break;
    case SECONDS: options->seconds = number(name, 0, 86400); break;
    case DRAIN: options->drain = number(name, 0, 3600); break;
    default: fail(EXIT_USAGE, "see load --help");
    }
}

struct options read_options(int count, char **arguments)
{
    struct options options = {
        .host = "127.0.0.1", .port = 8000, .path = "/", .protocol = PROTOCOL_URL,
        .sockets = 100, .devices = 1, .watch = 1, .opening = 128,
        .mqtt_host = "127.0.0.1", .mqtt_port = 1883, .rate = 10, .burst = 1, .padding = 60,
        .settle = 1, .warm = 1, .seconds = 3, .drain = 3,
    };
    int position = 0;

    for (int option; (option = getopt_long(count, arguments, "", NAMES, &position)) != -1;) {
        if (option == SHOW_HELP) {
            fputs(HELP, stdout);
            exit(0);
        }
        if (option == '?')
            fail(EXIT_USAGE, "see load --help");
        if (!read_text(&options, option))
            read_number(&options, option, NAMES[position].name);
    }
    if (optind < count)
        fail(EXIT_USAGE, "unexpected '%s'; see load --help", arguments[optind]);
    if (options.watch > options.devices)
        fail(EXIT_USAGE, "--watch cannot be above --devices");
    if (options.sources == 0)
        options.sources = (options.sockets + options.stalled + SOCKETS_PER_SOURCE - 1) / SOCKETS_PER_SOURCE;
    return options;
}
