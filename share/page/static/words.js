// Everything the page says: the table of texts, and numbers and times through Intl.

const DAY_MS = 86400000;

export class Words {
  constructor(texts, language) {
    this.texts = new Map(Object.entries(texts));
    // The visitor's own variant of the page's language (en-GB, pt-BR) knows how they write a time.
    this.locale = [...(navigator.languages || [])].find((tag) => tag.toLowerCase().split("-")[0] === language) || language;
    this.relative = new Intl.RelativeTimeFormat(this.locale, { numeric: "auto" });
    // 30 hours from now may be tomorrow or the day after: "in 1 day" is right on both.
    this.days = new Intl.RelativeTimeFormat(this.locale, { numeric: "always" });
  }

  say(key, values = {}) {
    return this.texts.get(key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  // A device's alias as it is shown. The server's own ones, "Device" and "Device 3", are in the visitor's language.
  name(alias) {
    const neutral = /^Device(?: ([1-9]\d{0,2}))?$/.exec(alias);
    if (!neutral) return clean(alias);
    return neutral[1] ? this.say("device_number", { number: neutral[1] }) : this.say("device");
  }

  #unit(value, unit, digits = 0) {
    return new Intl.NumberFormat(this.locale, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits })
      .format(value).replaceAll(" ", "\u00a0");   // a number and its unit stay on one line
  }

  speed(kmh) { return this.#unit(Math.round(kmh), "kilometer-per-hour"); }

  distance(metres) {
    if (metres < 995) return this.#unit(metres < 100 ? Math.round(metres) : Math.round(metres / 10) * 10, "meter");
    return this.#unit(metres / 1000, "kilometer", metres < 100000 ? 1 : 0);
  }

  duration(seconds) {              // "42 min", "1 hr 20 min", "3 days": what remains, rounded for a person
    if (seconds < 59.5) return this.#unit(Math.max(1, Math.round(seconds)), "second");
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return this.#unit(minutes, "minute");
    const hours = Math.floor(minutes / 60);
    if (hours < 24) return this.#unit(hours, "hour") + (minutes % 60 ? " " + this.#unit(minutes % 60, "minute") : "");
    return this.#unit(Math.floor(hours / 24), "day") + (hours % 24 ? " " + this.#unit(hours % 24, "hour") : "");
  }

  ago(ms) {
    const seconds = Math.max(0, Math.round(ms / 1000));
    if (seconds < 60) return this.relative.format(-seconds, "second");
    if (seconds < 3600) return this.relative.format(-Math.floor(seconds / 60), "minute");
    if (seconds < 86400) return this.relative.format(-Math.floor(seconds / 3600), "hour");
    return this.days.format(-Math.floor(seconds / 86400), "day");
  }

  until(ms) {                      // "in 5 minutes"
    const seconds = Math.max(0, Math.ceil(ms / 1000));
    if (seconds < 60) return this.relative.format(seconds, "second");
    if (seconds < 5400) return this.relative.format(Math.round(seconds / 60), "minute");
    if (seconds < 129600) return this.relative.format(Math.round(seconds / 3600), "hour");
    return this.days.format(Math.round(seconds / 86400), "day");
  }

  time(at, now) {                  // the time of day, and the day when it is not today
    const today = new Date(at).toDateString() === new Date(now).toDateString();
    const day = today ? {} : Math.abs(at - now) < 6 * DAY_MS ? { weekday: "long" } : { day: "numeric", month: "long" };
    return new Intl.DateTimeFormat(this.locale, { ...day, hour: "numeric", minute: "2-digit" }).format(at);
  }

  fullTime(at) {
    return new Intl.DateTimeFormat(this.locale, { dateStyle: "full", timeStyle: "long" }).format(at);
  }

  coordinates(position, precision) {
    const digits = precision >= 1000 ? 2 : precision > 0 ? 3 : 5;
    return position.lat.toFixed(digits) + ", " + position.lon.toFixed(digits);
  }
}

// Names are written by strangers: characters that do not print or turn the text round are left out.
export const clean = (text) => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, "");
