// The link's way to a live stream and back to it: init, the socket, renewal, what each end means.
// The token and the password live in this object only: never in a URL, never in the browser's storage.

import { elapsed, elapsedMark, learn, now } from "./clock.js";

const INIT_PATH = "/api/v1/public/share-location/init";
const ASK_SECONDS = 15;            // for the answer of init
const CONNECT_SECONDS = 15;        // from new WebSocket() to its first frame
const SILENT_HEARTBEATS = 2.5;     // the connection is dead when nothing at all came for so long
const HEARTBEAT_SECONDS = 25;      // until the server says its own
const RENEW_SECONDS = 30;          // before the token expires
const RENEW_AGAIN_SECONDS = 5;     // after a renewal that failed
const STABLE_SECONDS = 10;         // a connection that lasted this long makes the next failure the first one again
const BACKOFF_BASE_SECONDS = 0.5, BACKOFF_CAP_SECONDS = 30;
const DRAIN_SECONDS = 5;           // viewers of a server that goes away come back spread over this time
const EXPIRED_SECONDS = 2;         // those whose token or share ended together ask init spread over this time
const LATER_SECONDS = 20;          // a full share or server is asked again after this time, up to twice as long
const MAX_WAIT_SECONDS = 3600;     // a page that waits for a start looks again at least so often
const HANDSHAKES = 2;              // that fail in a row before init is asked for the reason
const AWAKE_MS = 1000;             // at most one early retry in this time
const SLEEP_SECONDS = 1;           // a page that comes back by "back" connects after this time, or when asked to
const REFUSALS = new Set([401, 403, 404, 410]);   // asking again changes nothing, but counts as a wrong password
const PHASE_OF_CODE = new Map([["share_revoked", "revoked"], ["share_ended", "ended"]]);

export class Session {
  #code; #listener; #password; #answer = null; #turn = 0; #timer = 0; #over = false;
  #attempt = 0; #handshakes = 0; #connection = null; #due = null; #renewing = false; #renewMark = null; #renewed = false;
  #refused = null; #reached = false;
  #triedMark = { steady: -Infinity, wall: -Infinity };

  // The listener has phase(name, detail), share(share), message(frame) and upstream(up). Phases: password, upcoming,
  // open, lost ({reached}: init was answered, so only the socket fails), full, busy, and the ends: ended, arrived,
  // revoked, unknown.
  constructor(code, listener) {
    this.#code = code;
    this.#listener = listener;
  }

  start() {
    addEventListener("online", () => this.#wake());
    addEventListener("pagehide", ({ persisted }) => { if (persisted) this.#sleep(); });
    addEventListener("pageshow", (event) => { if (event.persisted) this.#wake(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#wake(); });
    setInterval(() => this.#look(), 1000);
    return this.open();
  }

  // Ask init, then connect. With a password: the visitor's new try. A renewal that was refused is the answer already.
  async open(password = this.#password) {
    this.#cancel();
    const mine = ++this.#turn;
    this.#triedMark = elapsedMark();
    const answer = this.#refused ?? await this.#ask(password);
    if (mine !== this.#turn || this.#over) return;
    this.#refused = null;
    try {
      this.#judge(answer, password);
    } catch (error) {              // not as this page knows it: perhaps the next one is
      console.warn(error);
      if (!this.#over) this.#lost(this.#backoff(), () => this.open(password));
    }
  }

  #judge({ status, body, wait }, password) {
    const typed = password !== this.#password;
    this.#reached = status === 200;
    if (status === 200 || body.code === "share_not_started") this.#password = password;
    if (status === 200) {
      this.#keep(body);
      this.#listener.share(body.share);
      return this.#connect();
    }
    if (status === 404 || status === 400) return this.#finish("unknown");
    if (status === 410) return this.#finish(body.end_reason === "arrived" ? "arrived" : PHASE_OF_CODE.get(body.code) || "ended");
    if (status === 401 || body.code === "password_wrong") {
      this.#password = undefined;
      return this.#listener.phase("password", { wrong: typed && status === 403 });
    }
    if (body.code === "share_not_started") return this.#upcoming(Date.parse(body.starts_at));
    if (status === 429) {
      if (typed) return this.#listener.phase("password", { wait });   // their next try is theirs
      const spread = wait * (1 + Math.random());   // those who were refused together do not come back together
      this.#retry(spread, () => this.open(), false);
      return this.#listener.phase("busy", { wait: spread });
    }
    this.#lost(this.#backoff(), () => this.open(password));
  }

  async #ask(password) {
    const aborter = new AbortController(), limit = setTimeout(() => aborter.abort(), ASK_SECONDS * 1000);
    try {
      const answer = await fetch(INIT_PATH, {
        method: "POST", cache: "no-store", credentials: "omit", signal: aborter.signal,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(password === undefined ? { code: this.#code } : { code: this.#code, password }),
      });
      learn(answer.headers.get("Date"));
      const body = Object(await answer.json());
      if (answer.status === 200 && !(body.token && body.share)) return { status: 0, body: {} };
      return { status: answer.status, body, wait: Math.min(MAX_WAIT_SECONDS, Math.max(1, Number(answer.headers.get("Retry-After")) || 5)) };
    } catch {
      return { status: 0, body: {} };
    } finally {
      clearTimeout(limit);
    }
  }

  #keep({ token, expires_at, stream_url }) {
    const url = new URL(stream_url, location.href);
    if (url.protocol === "http:" || (url.protocol === "ws:" && location.protocol === "https:")) url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#answer = { token, expiresAt: Date.parse(expires_at), url: url.href };
    this.#renewed = false;
    this.#renewMark = null;
  }

  #upcoming(startsAt) {
    this.#listener.phase("upcoming", { startsAt });
    // Not before 2 s, should this clock be ahead; a little apart from the others who wait for the same start.
    const wait = Math.max(2, ((startsAt || 0) - now()) / 1000) + Math.random();
    this.#retry(Math.min(MAX_WAIT_SECONDS, wait), () => this.open());
  }

  /* ---- the socket ---- */

  #connect() {
    const mine = ++this.#turn;
    const connection = { socket: null, openedMark: null, heardMark: elapsedMark(), silence: CONNECT_SECONDS, expired: false, full: false };
    this.#triedMark = elapsedMark();
    try {
      connection.socket = new WebSocket(this.#answer.url, ["telemetry-bridge", "bearer." + this.#answer.token]);
    } catch {
      return this.#lost(this.#backoff(), () => this.open());
    }
    this.#connection = connection;
    const { socket } = connection, current = (handler) => (event) => { if (mine === this.#turn) handler(event); };
    socket.onopen = current(() => { connection.heardMark = elapsedMark(); });
    socket.onmessage = current(({ data }) => {
      connection.heardMark = elapsedMark();
      this.#take(connection, data);
    });
    socket.onclose = current(({ code }) => this.#closed(connection, code));
  }

  #take(connection, text) {
    let frame;
    try { frame = JSON.parse(text); } catch { return; }
    const data = frame?.data;
    if (data === null || typeof data !== "object") return;
    switch (frame.event) {
      case "hello":
        connection.openedMark = elapsedMark();
        connection.silence = Math.max(1, SILENT_HEARTBEATS * (Number(data.heartbeat_seconds) || HEARTBEAT_SECONDS));
        this.#handshakes = 0;
        this.#listener.share(data.share);
        this.#listener.phase("open");
        break;
      case "share":
        this.#renewed = false;     // it may last longer now
        this.#listener.share(data);
        break;
      case "message": this.#listener.message(frame); break;
      case "upstream": this.#listener.upstream(data.state !== "down"); break;
      case "expiring": this.#renew(); break;
      case "expired":
        if (data.reason === "arrived") this.#finish("arrived");
        connection.expired = true;
        break;
      case "revoked": this.#finish("revoked"); break;
      case "error": connection.full = connection.full || data.code === "too_many_viewers"; break;
    }
  }

  #closed(connection, code) {
    this.#connection = null;
    if (connection.openedMark && elapsed(connection.openedMark) > STABLE_SECONDS * 1000) this.#attempt = 0;
    if (!connection.openedMark) this.#handshakes += 1;
    const again = () => this.#again();
    if (code === 1001) return this.#lost(Math.random() * DRAIN_SECONDS, again);
    if (code === 1013) {
      this.#retry(LATER_SECONDS * (1 + Math.random()), again);
      return this.#listener.phase(connection.full ? "full" : "lost", { reached: true });
    }
    if (connection.expired || code === 1008) {   // init decides: a new token, or why there is none
      if (this.#refused) return this.open();
      if (this.#attempt > 0) return this.#lost(this.#backoff(), () => this.open());
      this.#attempt = 1;
      return this.#lost(Math.random() * EXPIRED_SECONDS, () => this.open());
    }
    this.#lost(this.#backoff(), again);
  }

  #again() {
    const lasts = this.#answer && this.#answer.expiresAt - now() > RENEW_SECONDS * 1000;
    return lasts && this.#handshakes < HANDSHAKES ? this.#connect() : this.open();
  }

  // A fresh token over the open socket, so that the stream has no gap. A failure is tried again until the old one
  // has expired; a refusal is not: it is judged then, once, and the stream lasts as long as its token.
  async #renew() {
    const connection = this.#connection;
    if (this.#renewing || this.#renewed || this.#refused || !connection?.openedMark) return;
    if (this.#renewMark && elapsed(this.#renewMark) < RENEW_AGAIN_SECONDS * 1000) return;
    this.#renewing = true;
    this.#renewMark = elapsedMark();
    const answer = await this.#ask(this.#password), { status, body } = answer;
    this.#renewing = false;
    if (connection !== this.#connection) return;
    if (REFUSALS.has(status)) this.#refused = answer;
    if (status === 429) {
      const wait = answer.wait * (1 + Math.random()) * 1000;
      this.#renewMark = { steady: performance.now() + wait, wall: Date.now() + wait };
    }
    if (status !== 200) return;
    try {
      const before = this.#answer.expiresAt;
      this.#keep(body);
      this.#listener.share(body.share);
      if (this.#answer.expiresAt > before) connection.socket.send(JSON.stringify({ action: "authenticate", ref: "renew", data: { token: body.token } }));
      else this.#renewed = true;   // the share itself ends: asking again gives no more
    } catch (error) {
      console.warn(error);
    }
  }

  /* ---- waiting ---- */

  #look() {                        // every second; less often while the page is hidden, and late after a sleep
    const connection = this.#connection;
    if (this.#over || !connection) return;
    if (elapsed(connection.heardMark) > connection.silence * 1000) {
      connection.socket.onclose = null;
      connection.socket.close();   // takes a minute on a dead link: nobody waits for it
      this.#closed(connection, 1006);
    } else if (this.#answer.expiresAt - now() < RENEW_SECONDS * 1000) this.#renew();
  }

  #wake() {                        // the network is back, or somebody looks: try now
    if (this.#over) return;
    this.#look();
    if (this.#due && elapsed(this.#triedMark) > AWAKE_MS) this.#run();
  }

  #sleep() {                       // kept for "back": no socket lives through that, and not each browser says so
    if (this.#over || !this.#connection) return;
    this.#turn += 1;
    this.#cancel();
    this.#lost(SLEEP_SECONDS, () => this.#again());
  }

  #run() {
    const due = this.#due;
    clearTimeout(this.#timer);
    this.#due = null;
    due();
  }

  #retry(seconds, action, early = true) {   // early: a visitor who looks need not wait for it
    clearTimeout(this.#timer);
    this.#due = early ? action : null;
    this.#timer = setTimeout(() => { this.#due = null; action(); }, seconds * 1000);
  }

  #lost(seconds, action) {
    this.#retry(seconds, action);
    this.#listener.phase("lost", { reached: this.#reached });
  }

  #backoff() {                     // full jitter: pages that lost the same server do not come back together
    const bound = Math.min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** Math.min(this.#attempt, 16));
    this.#attempt += 1;
    return Math.max(BACKOFF_BASE_SECONDS, Math.random() * bound);
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#due = null;
    this.#connection?.socket.close();
    this.#connection = null;
  }

  #finish(phase) {
    this.#over = true;
    this.#turn += 1;
    this.#cancel();
    this.#answer = null;
    this.#password = undefined;
    this.#listener.phase(phase);
  }
}
