// The card beside the map: what is known, in words. Everything is set with textContent.

import { bearing, distance, sector, turn } from "./geo.js";
import { clean } from "./words.js";

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
  #words; #chosen; #rows = new Map(); #place = "";

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
    const several = devices.length > 1, name = device ? clean(device.alias) : "";
    put("#title bdi", clean(share.label) || (several ? this.#words.say("page_title") : name));
    put("#device-name bdi", name);
    $("#device-name").hidden = !several && !clean(share.label);
    put("#motion", this.motion(device, view.stale(device)));
    this.#age(device, now);
    this.#list(view, several);
    this.#journey(share, device, view.stale(device));
    this.#position(share, device);
    const left = (share.endsAt - now) / 1000, time = this.#words.time(share.endsAt, now);
    put("#until", left > 0 ? this.#words.say("until_left", { time, left: this.#words.duration(left) }) : this.#words.say("until", { time }));
  }

  motion(device, stale) {
    const position = device?.position;
    if (!position) return this.#words.say("no_position");
    if (stale) return this.#words.say("last_known");
    if (position.speed === null) return this.#words.say("motion_unknown");
    if (position.speed < MOVING_KMH) return this.#words.say("stopped");
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

  #list({ devices, device, stale }, several) {
    $("#list").hidden = !several;
    if (!several) return;
    const order = devices.map(({ alias }) => alias);
    if (order.join("\0") !== [...this.#rows.keys()].join("\0")) {
      const rows = new Map(order.map((alias) => [alias, this.#row(alias)]));
      $("#devices").replaceChildren(...[...rows.values()].map(({ item }) => item));
      this.#rows = rows;
    }
    for (const each of devices) {
      const { button, words } = this.#rows.get(each.alias), lines = stale(each) && each.position ? this.#words.say("last_known") : this.motion(each, false);
      put(words, lines);
      button.setAttribute("aria-pressed", String(each === device));
      button.dataset.stale = String(stale(each));
    }
  }

  #row(alias) {
    const item = document.createElement("li"), button = document.createElement("button");
    const name = document.createElement("bdi"), words = document.createElement("span");
    button.type = "button";
    name.textContent = clean(alias);
    words.className = "quiet";
    button.append(name, words);
    button.addEventListener("click", () => this.#chosen(alias));
    item.append(button);
    return { item, button, words };
  }

  #journey({ destination, label }, device, stale) {
    const position = device?.position;
    $("#journey").hidden = !destination;
    if (!destination) return;
    note("#destination-name", "");
    const box = $("#destination-name");
    box.hidden = !destination.name;
    box.replaceChildren(Object.assign(document.createElement("bdi"), { textContent: clean(destination.name || "") }));
    if (!position) return note("#distance", ""), note("#eta", "");
    const metres = distance(position, destination);
    const there = metres <= destination.radius_m;
    note("#distance", there ? this.#words.say("at_destination") : this.#words.say("distance", { distance: this.#words.distance(metres) }));
    const away = position.heading !== null && turn(position.heading, bearing(position, destination)) > 90;
    const known = !there && !stale && !away && position.speed >= ETA_KMH;
    note("#eta", known ? this.#words.say("eta", { time: this.#words.duration(Math.max(60, metres / (position.speed / 3.6))) }) : "");
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
