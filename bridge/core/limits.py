"""Limits that no setting changes. Each has a unit and a reason; README's table of buffers repeats the sizes."""

from __future__ import annotations

from typing import Final

# --- what a client may send -------------------------------------------------------------------------
MAX_MESSAGE_BYTES: Final = 16 * 1024
"""One message from a client. The largest honest command, 1,000 short ids, is below."""
MAX_DEVICE_ID_CHARS: Final = 64
"""Length of a device_id. IMEI 15, DevEUI 16, UUID 36; 64 leaves room for names and keeps keys small."""
MAX_TOKEN_BYTES: Final = 2048
"""A credential. Ours are about 400 bytes; longer ones would not fit a header line of 8 KiB with company."""
MAX_REF_CHARS: Final = 64
"""Length of a command's ``ref`` when it is a string; it is echoed, so it must not amplify."""
COMMANDS_PER_SECOND: Final = 20.0
"""Sustained commands of one socket: far above a person's or a dashboard's need, too few to cost much CPU."""
COMMANDS_BURST: Final = 40
"""Commands that one socket may send at once, e.g. a dashboard that restores its panels."""
MAX_RATE_LIMITED: Final = 200
"""Commands over the rate that are answered ``rate_limited`` before the socket is closed with 1013."""

READ_FRAMES_PER_SECOND: Final = 500
"""Frames of one socket, whatever they are: an honest client sends its commands and a pong. About 1 ms of the loop."""
READ_BYTES_PER_SECOND: Final = 256 * 1024
"""Bytes of one socket: sixteen of the largest messages."""
READ_SECONDS: Final = 3
"""Seconds in a row over one of the two before the socket is closed with 1008: no honest client comes near."""
READ_BYTES: Final = 16 * 1024
"""One read from a client's socket; at most so much waits unparsed when the client's budget is spent."""

# --- how long we wait -------------------------------------------------------------------------------
AUTHENTICATE_SECONDS: Final = 10.0
"""From the upgrade to a valid token on ``/api/v1/ws``. A person never types it; a program needs one round trip."""
PONG_SECONDS: Final = 10.0
"""From our ping to any sign of life. Centrifugo's default too; longer than a mobile radio's wake-up."""
WRITE_SECONDS: Final = 30.0
"""For a socket above HIGH_WATER_BYTES to get below LOW_WATER_BYTES. Slower than 2 KiB/s it is dead or useless."""
CLOSE_SECONDS: Final = 2.0
"""From our Close frame to the peer's; then the connection is closed, or aborted if the peer has read nothing."""
LINGER_SECONDS: Final = 0.5
"""From our Close frame over a broken frame to the end of our sending side: time for the peer's own Close frame,
which some libraries (aiohttp's client) no longer write to a connection that is half closed."""
PULSE_TICK_SECONDS: Final = 0.25
"""The step of the wheel of heartbeats: pings of 10,000 sockets at 25 s then come 100 at a time."""
RECHECK_SECONDS: Final = 1.0
"""Between two looks at the wall clock for what ends by it: the clock may be set, and the machine may sleep."""
EXPIRY_GRACE_SECONDS: Final = 0.2
"""From expiry to abort for a socket that takes no data: DESIGN promises the end within 250 ms."""
EXPIRING_SECONDS: Final = 30.0
"""How long before ``exp`` the ``expiring`` event is sent: time to fetch a new token over a bad network."""

# --- sizes inside -----------------------------------------------------------------------------------
CHUNK_BYTES: Final = 48 * 1024
"""What is written to one transport at a time. Small, so that slowness shows in the outbox, not in stale bytes."""
HIGH_WATER_BYTES: Final = 16 * 1024
"""A transport's buffer above which nothing more is written to it: with the chunk that passed it, 64 KiB at most."""
LOW_WATER_BYTES: Final = 4 * 1024
"""A transport's buffer below which what waits is written on."""
NOTSENT_LOWAT_BYTES: Final = 32 * 1024
"""TCP_NOTSENT_LOWAT (tcp(7)): unsent bytes the kernel takes per socket. Data in flight is not limited by it."""
REPLAY_LOOKS: Final = 512
"""Devices that one look at a socket goes through for last-known values: 0.2 ms, however many are known."""
TURN_MESSAGES: Final = 128
"""Messages fanned out in one loop turn, so that heartbeats and handshakes get their turn."""
TURN_BYTES: Final = 32 * 1024
"""Payload bytes fanned out in one loop turn; with frames around them below one chunk."""
HANDOFF_MESSAGES: Final = 65_536
"""Messages between the MQTT thread and the loop: 16 s at 4,000/s, so a stalled loop loses nothing for long."""
HANDOFF_BYTES: Final = 64 * 1024 * 1024
"""Payload bytes between the MQTT thread and the loop; reached first when payloads are above 1 KiB."""
HANDOFF_LOST_DEVICES: Final = 256
"""Devices whose losses at the handoff are counted one by one; beyond them a gap says that it is incomplete."""
MAX_KNOWN_DEVICES: Final = 100_000
"""Devices whose last-known messages are kept; the one that was silent longest is forgotten first."""
HISTORY_BYTES: Final = 128 * 1024 * 1024
"""Payload bytes of last-known messages in all; the device that was silent longest goes first."""
FUTURE_SECONDS: Final = 300.0
"""How far ahead of our clock a device's may be: a fix from further ahead is not believed."""
MAX_GAP_DEVICES: Final = 100
"""Devices named in one ``gap`` event; the rest is in the total."""
MAX_CONTROL_PACKET_BYTES: Final = 64 * 1024
"""An MQTT packet that is not a PUBLISH. A SUBACK for 1,000 filters is 1 KiB; more is a broken peer."""
MQTT_READ_BYTES: Final = 256 * 1024
"""One read from the MQTT socket: many messages per system call when busy."""
LISTEN_BACKLOG: Final = 4096
"""Connections that the kernel holds for us; asyncio's 100 drops SYNs in a reconnect storm."""
LOG_RECORDS: Final = 10_000
"""Log lines that wait for a blocked stdout; more are dropped and counted."""
