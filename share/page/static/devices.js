// What is known of each device: its position, its trail, when it was heard. No drawing, no network.

export const MAX_TRAIL = 500;      // points kept of one device
const MAX_IDS = 4000;              // message ids remembered: a replay of 20 trails fits several times
const FUTURE_MS = 60000;           // a fix from further ahead than this came from a wrong clock

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

export function readPosition(data) {   // null when it holds no usable position
  if (data === null || typeof data !== "object") return null;
  const lat = number(data.lat), lon = number(data.lon);
  if (lat === null || lon === null || Math.abs(lat) > 90 || Math.abs(lon) > 180) return null;
  const time = typeof data.time === "string" ? Date.parse(data.time) : NaN;
  return {
    lat, lon, speed: number(data.speed_kmh), heading: number(data.heading_deg), altitude: number(data.altitude_m),
    accuracy: number(data.accuracy_m), time: Number.isFinite(time) ? time : null,
  };
}

export class Devices {
  #devices = new Map();            // by alias: a Map, since "__proto__" is a fine alias
  #ids = new Set();

  all() { return [...this.#devices.values()]; }
  get(alias) { return this.#devices.get(alias); }
  get size() { return this.#devices.size; }
  clear() { this.#devices.clear(); this.#ids.clear(); }

  // The share's devices in its order. Which they are and their order is fixed when a share is made, so that the
  // first is the same whatever it is called now, also when two of them have changed names.
  name(aliases) {
    const before = this.all(), next = new Map();
    aliases.forEach((alias, index) => {
      const known = before.length === aliases.length ? before[index] : this.#devices.get(alias);
      const device = known || { alias, position: null, live: false, heardAt: 0, trail: [] };
      device.alias = alias;
      next.set(alias, device);
    });
    this.#devices = next;
  }

  // One position of one device. `heardAt` is now for what has just been measured, and the fix's own time for
  // what is repeated; a replay without a time says nothing of when the device was heard. `first` is a position that came with the share. Answers whether anything changed.
  take(alias, data, { id = null, replay = false, first = false, now, delay = 0 }) {
    const device = this.#devices.get(alias), position = readPosition(data);
    if (!device || !position || this.#seen(id)) return false;
    position.shownAt = position.time ?? (replay ? null : now);
    const current = device.position, same = current && sameFix(current, position);
    const newer = current === null || this.#newer(device, position, replay, now);
    device.heardAt = Math.max(device.heardAt, replay ? Math.min(now, position.time === null ? 0 : position.time + delay) : now);
    if (same) {
      if (!replay) device.live = true;
      return !replay;
    }
    if (newer) {
      device.position = position;
      device.live = !replay;
    }
    return this.#extend(device, position, newer, first) || newer;
  }

  #newer(device, position, replay, now) {
    const current = device.position;
    if (position.time === null || current.time === null) return !replay || !device.live;
    if (!replay && current.time > now + FUTURE_MS) return true;
    return replay ? position.time > current.time : position.time >= current.time;
  }

  #extend({ trail, live }, position, newest, first) {
    const point = { lat: position.lat, lon: position.lon, time: position.time };
    if (newest && point.time === null && first) return true;   // the trail that follows ends with it
    if (newest) trail.push(point);
    else if (point.time === null) {
      if (live) return false;      // nobody knows where it belongs
      trail.push(point);
    } else {
      let index = trail.length;
      while (index > 0 && (trail[index - 1].time ?? -Infinity) > point.time) index -= 1;
      if (index > 0 && sameFix(trail[index - 1], point)) return false;
      trail.splice(index, 0, point);
    }
    if (trail.length > MAX_TRAIL) trail.splice(0, trail.length - MAX_TRAIL);
    return true;
  }

  #seen(id) {
    if (typeof id !== "string") return false;
    if (this.#ids.has(id)) return true;
    this.#ids.add(id);
    if (this.#ids.size > MAX_IDS) this.#ids.delete(this.#ids.values().next().value);
    return false;
  }
}

const sameFix = (a, b) => a.time !== null && a.time === b.time && a.lat === b.lat && a.lon === b.lon;
