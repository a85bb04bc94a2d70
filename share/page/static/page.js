// A shared location, live, for a person who got a link. This file holds the page together: what the session says
// becomes a state, and the state and the devices become a cover with words, or a map with a card.

import { Card, put } from "./card.js";
import { now } from "./clock.js";
import { Devices, readPosition } from "./devices.js";
import { Session } from "./session.js";
import { clean, Words } from "./words.js";

const DRAW_MS = 200;               // between two drawings, however much arrives
const ANNOUNCE_MS = 60000;         // between two spoken lines about movement; a change of state is spoken at once
const GRID_RADIUS = Math.SQRT1_2;  // of a grid square's side: a circle of this radius holds the square
const COVER_ICONS = new Map(Object.entries({
  loading: "loading", password: "lock", upcoming: "clock", ended: "clock", arrived: "flag", revoked: "stop", unknown: "broken",
  full: "people", busy: "clock", unreachable: "cloud", stream: "cloud",
}));
const ENDS = new Set(["ended", "arrived", "revoked", "unknown"]);
const AGAIN = new Set(["lost", "full", "busy"]);   // the stream is not open, and the session goes on trying

const $ = (selector) => document.querySelector(selector);
const config = JSON.parse(document.body.dataset.config);
const words = new Words(config.texts, config.language);
const devices = new Devices();
const page = { phase: "loading", detail: {}, share: null, upstream: true, chosen: null, opened: false, helloAt: 0, retryAt: 0 };
let map = null, mapAsked = false, drawnAt = 0, scheduled = false, spoken = "", spokenAt = 0, spokenState = "";
const card = new Card(words, choose);
const mapModule = import("./map.js");   // fetched apart: where it does not come, the card says all there is to say
mapModule.catch(() => {});              // reported when the map is wanted

/* ---- what the session says ---- */

const listener = {
  phase(phase, detail = {}) {
    Object.assign(page, { phase, detail, retryAt: detail.wait ? Date.now() + detail.wait * 1000 : 0 });
    if (phase === "open") {
      page.opened = page.upstream = true;   // the server says when it is not
      page.helloAt = now();
    }
    if (ENDS.has(phase)) forget();
    if (phase === "password") passwordAsked(detail);
    draw();
  },
  share(share) {
    if (share === null || typeof share !== "object" || !Array.isArray(share.devices)) return;
    const number = (value) => (value > 0 && Number.isFinite(value) ? value : 0), text = (value) => (typeof value === "string" ? value : "");
    const to = readPosition(share.destination ?? null), end = Date.parse(text(share.ends_at));
    page.share = {
      label: text(share.label), endsAt: Number.isFinite(end) ? end : null,
      precision: number(share.precision_m), delay: number(share.delay_s), destination: null,
    };
    if (to) {
      const { radius_m: radius, name } = share.destination;
      page.share.destination = { lat: to.lat, lon: to.lon, radius_m: number(radius), name: clean(text(name)) };
    }
    const shared = share.devices.filter((device) => typeof device?.alias === "string");
    devices.name(shared.map(({ alias }) => alias));
    const told = { replay: true, first: true, now: now(), delay: page.share.delay * 1000 };
    for (const { alias, position } of shared) if (position) devices.take(alias, position, told);
    soon();
  },
  message({ alias, id, replay, data }) {
    if (devices.take(alias, data, { id, replay: replay === true, now: now(), delay: (page.share?.delay || 0) * 1000 })) soon();
  },
  upstream(up) {
    page.upstream = up;
    draw();
  },
};

function forget() {                // nobody may go on looking at what is not shared any more
  devices.clear();
  map?.forget();
}

/* ---- what the page is: one state ---- */

const isLost = () => page.phase !== "open";
// The share has expired, whatever keeps init from saying so. The server may still say that it was extended.
const isPast = () => AGAIN.has(page.phase) && Boolean(page.share?.endsAt) && now() >= page.share.endsAt;
function isSilent({ position, heardAt }) {   // when it has no time, a replay may be of a moment before the hello
  const heard = position?.time === null ? Math.max(heardAt, page.helloAt) : heardAt;
  return position !== null && now() - heard > config.silent_seconds * 1000;
}
const isStale = (device) => isLost() || !page.upstream || isSilent(device);
const chosen = () => devices.all()[page.chosen] || devices.all().find(({ position }) => position) || devices.all()[0];

const remaining = () => words.duration(Math.max(1, (page.retryAt - Date.now()) / 1000));

function covered() {               // the words that fill the page when there is nothing to look at; null: the map
  const { phase, detail } = page;
  if (isPast()) return { name: "ended", title: words.say("ended_title"), text: words.say("ended_text"), more: "" };
  if (phase === "open" || (page.opened && !ENDS.has(phase) && phase !== "password" && phase !== "upcoming")) return null;
  const name = phase !== "lost" ? phase : detail.reached ? "stream" : "unreachable", at = detail.startsAt;
  const values = { wait: remaining(), time: Number.isFinite(at) ? words.time(at, now()) : "" };
  let text = words.say(name + "_text", values);
  if (name === "arrived" && page.share?.destination?.name) text = words.say("arrived_at", page.share.destination);
  const more = name === "upcoming" && Number.isFinite(at) ? words.say("upcoming_more", { in: words.until(at - now()) }) : "";
  return { name, title: words.say(name + "_title"), text, more };
}

function shown() {                 // the state in a word or two, on the card
  const state = (kind, name, values = {}) => (
    { kind, name, title: words.say(name + "_title", values), hint: words.say(name + "_text", values) });
  const { phase } = page, all = devices.all(), silent = all.filter(isSilent);
  if (phase === "full" || phase === "busy") return state("wait", phase, { wait: remaining() });
  if (phase !== "open") return state("wait", "lost");
  if (!page.upstream) return state("wait", "upstream");
  if (!all.some(({ position }) => position)) return state("wait", "waiting");
  if (silent.length && silent.length === all.filter(({ position }) => position).length) {
    const last = Math.max(...silent.map(({ position, heardAt }) => position.shownAt ?? heardAt));
    const told = state("silent", "silent", { time: last ? words.time(last, now()) : "" });
    return last ? told : { ...told, title: words.say("silent_unknown") };
  }
  const names = silent.map(({ alias }) => words.name(alias)).join(", ");
  return { kind: "live", name: "live", title: words.say("live_title"), hint: names ? words.say("silent_some", { names }) : "" };
}

/* ---- drawing ---- */

function soon() {                  // at most every DRAW_MS, and not while nobody can see it
  if (scheduled || document.hidden) return;
  scheduled = true;
  setTimeout(() => requestAnimationFrame(() => { scheduled = false; draw(); }), Math.max(0, drawnAt + DRAW_MS - performance.now()));
}

function draw() {
  if (document.hidden && map) return;
  drawnAt = performance.now();
  if (isPast()) forget();
  const cover = covered(), focused = document.activeElement;
  $("#cover").hidden = !cover;
  $("#live").hidden = Boolean(cover);
  document.body.dataset.state = cover ? cover.name : shown().name;
  document.title = title(cover);
  if (cover) drawCover(cover);
  else drawLive();
  if (focused && focused !== document.body && !focused.getClientRects().length) {   // it went: on from the top
    $(cover ? "#cover-title" : "#title").focus({ preventScroll: true });
  }
}

function drawCover({ name, title: heading, text, more }) {
  put("#cover-title", heading);
  put("#cover-text", text);
  put("#cover-more", more);
  $("#cover-more").hidden = !more;
  $("#cover-icon").dataset.icon = COVER_ICONS.get(name) || "loading";
  $("#password-form").hidden = name !== "password";
  if (name === "password") passwordWait();
  speak(name, join(heading, text));
}

function drawLive() {
  if (!mapAsked) openMap();
  const all = devices.all(), device = chosen(), state = shown();
  card.draw({ share: page.share, devices: all, device, state, now: now(), stale: isStale });
  $("#state").dataset.name = state.name;
  const marked = (each) => each === device && (all.length === 1 || page.chosen !== null);
  const drawn = all.map((each) => ({ ...each, name: words.name(each.alias), stale: isStale(each), chosen: marked(each), radius: radius(each) }));
  map?.draw(drawn, page.share.destination);
  const line = device ? words.say("announce", { name: words.name(device.alias), motion: card.motion(device, isStale(device), page.share) }) : "";
  speak(state.name, join(state.title, state.name === "live" ? line : state.hint));
}

const radius = ({ position }) => (page.share.precision ? page.share.precision * GRID_RADIUS : position?.accuracy || null);

const join = (first, second) => first + (/[.…]$/.test(first) ? " " : ". ") + second;   // after "3:15 p.m." too

function title(cover) {
  const name = page.share && !ENDS.has(cover?.name) ? clean(page.share.label) || (devices.size === 1 ? words.name(devices.all()[0].alias) : "") : "";
  return name ? `${name} · ${words.say("page_title")}` : words.say("page_title");
}

function speak(state, text) {      // for those who listen: a change of state at once, movement once a minute
  if (state === spokenState && (text === spoken || Date.now() - spokenAt < ANNOUNCE_MS)) return;
  [spokenState, spoken, spokenAt] = [state, text, Date.now()];
  put("#announce", text);
}

/* ---- the map and its buttons ---- */

async function openMap() {
  mapAsked = true;
  new ResizeObserver(measure).observe($("#card"));
  addEventListener("resize", measure);
  try {
    const { MapView } = await mapModule;
    map = new MapView($("#map"), config, words, {
      changed: (following) => { $("#follow").hidden = following; },
      failed: (yes) => { $("#map-note").hidden = !yes; },
      chosen: choose,
    });
  } catch (error) {
    console.warn(error);
    put("#map-note", words.say("map_failed"));
    $("#map-note").hidden = false;
    return;
  }
  $("#tools").hidden = false;
  measure();
  $("#zoom-in").addEventListener("click", () => map.zoom(1));
  $("#zoom-out").addEventListener("click", () => map.zoom(-1));
  $("#fit").addEventListener("click", showAll);
  $("#follow").addEventListener("click", () => { map.follow(true); $("#map").focus({ preventScroll: true }); draw(); });
  draw();
}

function measure() {               // the style sheet says where the card lies: sheet, beside or under
  const layout = getComputedStyle(document.documentElement).getPropertyValue("--layout").trim();
  const { right, height } = $("#card").getBoundingClientRect();
  const left = layout === "beside" ? right : 0, bottom = layout === "sheet" ? height : 0;
  document.documentElement.style.setProperty("--sheet", bottom + "px");
  map?.cover(left, bottom);
  soon();
}

function showAll() {               // one: a look at where it is and where it goes; several: all of them are followed
  page.chosen = null;
  map.follow(devices.size > 1);
  map.fit(devices.all(), page.share.destination);
  draw();
}

function choose(index) {
  page.chosen = index;
  map?.follow(true);
  const { position } = devices.all()[index] || {};
  if (position) map?.show(position);
  draw();
}

/* ---- the password ---- */

function passwordAsked({ wrong, wait }) {
  const field = $("#password");
  field.setAttribute("aria-invalid", String(Boolean(wrong)));
  put("#password-error", wait ? words.say("password_limited", { wait: words.duration(wait) }) : wrong ? words.say("password_wrong") : "");
  draw();
  field.focus();
  if (page.opened && !wrong && !wait) field.value = "";   // it has been changed since
  if (wrong) field.select();
}

function passwordWait() {          // asked to slow down: the button works again when the time has passed
  const waiting = page.retryAt > Date.now();
  $("#password-send").disabled = waiting || page.detail.sent === true;
  if (page.retryAt && !waiting) {
    page.retryAt = 0;
    put("#password-error", "");
  }
}

$("#password-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("#password-send").disabled) return;
  page.detail = { sent: true };
  put("#password-error", "");
  passwordWait();
  session.open($("#password").value);
});

/* ---- begin ---- */

$("#stuck").remove();
// A link at the end of a sentence often comes with the sentence's full stop, and some add a slash.
const segment = (location.pathname.split("/").filter(Boolean).pop() || "").replace(/(?:[.,;:!?)>\]'"]|%\w\w)+$/, "");
const session = new Session(segment, listener);
document.addEventListener("visibilitychange", () => { if (!document.hidden) draw(); });
setInterval(() => { if (!document.hidden) draw(); }, 1000);   // ages grow even when nothing comes
draw();
session.start();
