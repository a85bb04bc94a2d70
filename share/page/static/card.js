// The card beside the map: what is known, in words. Everything is set with textContent.

import { bearing, distance, sector, turn } from "./geo.js";
import { clean } from "./words.js";   // for what is no alias: those are words.name()

const MOVING_KMH = 3;              // slower than this a receiver at rest seems to move
const ETA_KMH = 5;                 // slower than this a time of arrival means nothing
const COPIED_MS = 2000;

const $ = (selector) => document.querySelector(selector);

export function put(selector, text) {   // only when it differs, so that a selection and a screen reader are left alone
  const element = typeof selector === "string" ? $(selector) : selector;
  if (element.textContent !== text) element.textContent = text;
}

function note(selector, text) {    // a line that is there only when it says something
  put(selector, text);
  $(selector).hidden = !text;
}

export class Card {
  #words; #chosen; #rows = []; #place = "";

  // `chosen(index)` hears which of several the visitor wants to see.
  constructor(words, chosen) {
    this.#words = words;
    this.#chosen = chosen;
    $("#copy").addEventListener("click", () => this.#copy());
    $("#fold").addEventListener("click", () => this.fold($("#fold").getAttribute("aria-expanded") === "true"));
  }

  fold(yes) {
    $("#fold").setAttribute("aria-expanded", String(!yes));
    $("#details").hidden = yes;
  }

  // `view`: {share, devices, device, state: {kind, title, hint}, now, stale(device), lost}
  draw(view) {
    const { share, devices, device, state, now } = view;
    $("#state").dataset.kind = state.kind;
    put("#state-text", state.title);
    note("#hint", state.hint || "");
    const several = devices.length > 1, name = device ? this.#words.name(device.alias) : "";
    put("#title bdi", clean(share.label) || (several ? this.#words.say("page_title") : name));
    put("#device-name bdi", name);
    $("#device-name").hidden = !several && !clean(share.label);
    put("#motion", this.motion(device, view.stale(device), share));
    this.#age(device, now);
    this.#list(view, several);
    this.#journey(share, device, view.stale(device));
    this.#position(share, device);
    note("#until", share.endsAt === null ? "" : this.#until((share.endsAt - now) / 1000, this.#words.time(share.endsAt, now)));
  }

  #until(left, time) {
    return left > 0 ? this.#words.say("until_left", { time, left: this.#words.duration(left) }) : this.#words.say("until", { time });
  }

  motion(device, stale, { precision }) {
    const position = device?.position;
    if (!position) return this.#words.say("no_position");
    if (stale) return this.#words.say("last_known");
    if (position.speed === null) return this.#words.say("motion_unknown");
    if (position.speed < MOVING_KMH) return this.#words.say(precision ? "slow" : "stopped");   // with a grid, 0 is what was rounded to it
    const speed = this.#words.speed(position.speed);
    if (position.heading === null) return this.#words.say("moving", { speed });
    return this.#words.say("moving_to", { speed, direction: this.#words.say("direction_" + sector(position.heading)) });
  }

  #age(device, now) {
    const at = device?.position?.shownAt ?? null, time = $("#age time");
    $("#age").hidden = at === null;
    if (at === null) return;
    put(time, this.#words.ago(now - at));
    const iso = new Date(at).toISOString();
    if (time.dateTime !== iso) Object.assign(time, { dateTime: iso, title: this.#words.fullTime(at) });
  }

  #list({ devices, device, stale, share }, several) {
    $("#list").hidden = !several;
    if (!several) return;
    if (devices.length !== this.#rows.length) {
      this.#rows = devices.map((_, index) => this.#row(index));
      $("#devices").replaceChildren(...this.#rows.map(({ item }) => item));
    }
    devices.forEach((each, index) => {
      const { button, name, words } = this.#rows[index];
      put(name, this.#words.name(each.alias));
      put(words, this.motion(each, stale(each), share));
      button.setAttribute("aria-pressed", String(each === device));
      button.dataset.stale = String(stale(each));
    });
  }

  #row(index) {
    const item = document.createElement("li"), button = document.createElement("button");
    const name = document.createElement("bdi"), words = document.createElement("span");
    button.type = "button";
    words.className = "quiet";
    button.append(name, words);
    button.addEventListener("click", () => this.#chosen(index));
    item.append(button);
    return { item, button, name, words };
  }

  #journey({ destination, precision, delay }, device, stale) {
    const position = device?.position;
    $("#journey").hidden = !destination;
    if (!destination) return;
    $("#destination-name").hidden = !destination.name;
    put("#destination-name bdi", destination.name);
    if (!position) return note("#distance", ""), note("#eta", "");
    const metres = distance(position, destination);
    const there = !precision && metres <= destination.radius_m;
    note("#distance", there ? this.#words.say("at_destination") : this.#far(metres, precision));
    const away = position.heading !== null && turn(position.heading, bearing(position, destination)) > 90;
    // Of what was rounded, or is old, no time of arrival can be told.
    const known = !precision && !delay && !there && !stale && !away && position.speed >= ETA_KMH;
    note("#eta", known ? this.#words.say("eta", { time: this.#words.duration(Math.max(60, metres / (position.speed / 3.6))) }) : "");
  }

  #far(metres, precision) {        // with a grid: not finer than it is, and nothing of having arrived
    if (precision && metres < precision) return this.#words.say("distance_within", { distance: this.#words.distance(2 * precision) });
    const rounded = precision ? Math.round(metres / precision) * precision : metres;
    return this.#words.say("distance", { distance: this.#words.distance(rounded) });
  }

  #position(share, device) {
    const position = device?.position;
    $("#place").hidden = !position;
    if (!position) return;
    this.#place = this.#words.coordinates(position, share.precision);
    put("#coordinates", this.#place);
    note("#accuracy", position.accuracy > 0 && !share.precision ? this.#words.say("accuracy", { distance: this.#words.distance(position.accuracy) }) : "");
    note("#precision", share.precision ? this.#words.say("precision", { distance: this.#words.distance(share.precision) }) : "");
    note("#delay", share.delay ? this.#words.say("delay", { time: this.#words.duration(share.delay) }) : "");
    if (/Android/.test(navigator.userAgent)) {   // the one system whose browsers hand geo: to the maps app
      const link = $("#open-maps"), point = this.#place.replace(" ", "");
      link.hidden = false;
      link.href = `geo:${point}?q=${point}`;
    }
  }

  async #copy() {
    let word = "copied";
    try {
      await navigator.clipboard.writeText(this.#place);
    } catch {                      // not on plain http, or refused: the visitor copies what is selected
      getSelection().selectAllChildren($("#coordinates"));
      word = "select_to_copy";
    }
    put("#copy", this.#words.say(word));
    setTimeout(() => put("#copy", this.#words.say("copy")), COPIED_MS);
  }
}
