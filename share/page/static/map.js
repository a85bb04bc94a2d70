// The map: tiles when they come, a plain grid where they do not, and on it what is known of each device.

import "./leaflet.js";             // not a module: it makes window.L

const L = window.L;
const NEAR_ZOOM = 15, WORLD_ZOOM = 2, MAX_ZOOM = 19;
const TILE_FAILURES = 3;           // that many with none loaded in between: there is no map
const PADDING = 56;                // pixels kept free round what is fitted
const TOOLS = 32;                  // and so many more on the right, where the buttons lie
const SVG = "http://www.w3.org/2000/svg";
const ARROW = "M0-13 9.5 11 0 6.5-9.5 11Z";
const FLAG = "M-7 14v-28M-7-13c5-4 9 4 15 0v11c-6 4-10-4-15 0";

function icon(name, path) {
  const outer = document.createElement("div"), svg = document.createElementNS(SVG, "svg");
  outer.className = "marker";
  svg.setAttribute("viewBox", "-22 -22 44 44");
  svg.setAttribute("aria-hidden", "true");
  for (const [tag, attributes] of [["circle", { r: 19, class: "disc" }], ["path", { d: path, class: "sign" }], ["circle", { r: 8, class: "dot" }]]) {
    const part = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    svg.append(part);
  }
  const label = document.createElement("bdi");
  label.className = "marker-name";
  outer.append(svg, label);
  return { outer, svg, label, icon: L.divIcon({ html: outer, className: name, iconSize: [44, 44] }) };
}

const GridLayer = L.GridLayer.extend({
  createTile() {
    const tile = document.createElement("div");
    tile.className = "grid-tile";
    return tile;
  },
});

export class MapView {
  following = true;
  #map; #drawn = new Map(); #destination = null; #placed = false; #padding = { left: 0, bottom: 0 }; #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #changed; #flag = ""; #held = false;

  // `changed(following)` hears when the visitor drags the map away, `failed(yes)` when tiles cannot be loaded, and
  // `chosen(index)` which of several was touched.
  constructor(element, config, words, { changed, failed, chosen }) {
    this.#changed = changed;
    this.chosen = chosen;
    this.#map = L.map(element, {
      zoomControl: false, attributionControl: false, maxZoom: MAX_ZOOM, zoomSnap: 0.5, worldCopyJump: true,
      zoomAnimation: !this.#calm.matches, fadeAnimation: !this.#calm.matches, markerZoomAnimation: !this.#calm.matches,
      inertia: !this.#calm.matches,
    }).setView([20, 0], WORLD_ZOOM, { animate: false });
    element.setAttribute("aria-label", words.say("map_label"));
    element.setAttribute("role", "application");
    new GridLayer({ maxZoom: MAX_ZOOM, pane: "tilePane" }).addTo(this.#map);
    L.control.scale({ imperial: false, position: "bottomleft" }).addTo(this.#map);
    if (config.tiles) this.#tiles(config, failed);
    this.#map.on("dragstart", () => this.follow(false));
    // Nothing moves under a finger, nor in the middle of a zoom.
    this.#map.on("zoomstart", () => { this.#held = true; }).on("zoomend", () => { this.#held = false; });
    const touched = ({ touches }) => { this.#held = touches.length > 0; };
    for (const name of ["touchstart", "touchend", "touchcancel"]) element.addEventListener(name, touched, { passive: true });
    element.addEventListener("wheel", () => this.#zoomed(), { passive: true });
    element.addEventListener("keydown", ({ key }) => {
      if (!key.startsWith("Arrow")) return;
      this.#map.stop();            // Leaflet hears no key while it glides
      this.follow(false);
    });
  }

  #tiles({ tiles, attribution }, failed) {
    let failures = 0;
    L.tileLayer(tiles, { maxZoom: MAX_ZOOM, className: "map-tiles" })
      .on("tileerror", () => { failures += 1; if (failures >= TILE_FAILURES) failed(true); })
      .on("tileload", () => { failures = 0; failed(false); })
      .addTo(this.#map);
    const credit = L.control({ position: "bottomright" });
    credit.onAdd = () => {
      const box = document.createElement("p");
      box.className = "credit";
      for (const [text, href] of attribution) {
        const part = document.createElement(href ? "a" : "span");
        part.textContent = text;
        if (href) Object.assign(part, { href, rel: "noreferrer noopener", target: "_blank" });
        box.append(part);
      }
      L.DomEvent.disableClickPropagation(box);
      return box;
    };
    credit.addTo(this.#map);
  }

  // What the card covers, so that the middle is the middle of what can be seen.
  cover(left, bottom) {
    this.#padding = { left, bottom };
    this.#map.invalidateSize({ animate: false, pan: false });
  }

  zoom(step) {
    this.#zoomed();
    this.#map.setZoom(this.#map.getZoom() + step);
  }

  #zoomed() {                      // who looks closer at one of several does not want all of them back
    if (this.#drawn.size > 1) this.follow(false);
  }

  follow(yes) {
    if (yes === this.following) return;
    this.following = yes;
    this.#changed(yes);
  }

  forget() {
    for (const parts of this.#drawn.values()) for (const part of [parts.marker, parts.circle, parts.trail]) part.remove();
    this.#drawn.clear();
    this.#placed = false;
  }

  // Draw all that is given: [{name, position, trail, stale, chosen, radius}]; `radius` in metres or null.
  draw(devices, destination) {
    for (const index of [...this.#drawn.keys()]) if (!devices[index]) this.#erase(index);
    this.#drawDestination(destination);
    devices.forEach((device, index) => { if (device.position) this.#drawDevice(device, index, devices.length > 1); });
    const shown = devices.filter((device) => device.position);
    if (!shown.length) {
      if (destination && !this.#placed) this.#centre(destination, 12);
      return;
    }
    if (!this.#placed) {
      this.#placed = true;
      if (shown.length > 1) return this.fit(devices, destination);
      return this.#centre(shown[0].position, NEAR_ZOOM);
    }
    if (!this.following || this.#held) return;
    const target = shown.find((device) => device.chosen);
    if (target) this.#centre(target.position);
    else if (!this.#inView(shown)) this.fit(devices, destination);
  }

  fit(devices, destination) {
    const points = devices.filter((device) => device.position).map(({ position }) => [position.lat, position.lon]);
    if (destination) points.push([destination.lat, destination.lon]);
    if (!points.length) return;
    const bounds = L.latLngBounds(points), padding = this.#padding;
    const options = {
      paddingTopLeft: [padding.left + PADDING, PADDING], paddingBottomRight: [PADDING + TOOLS, padding.bottom + PADDING],
      maxZoom: NEAR_ZOOM, animate: !this.#calm.matches,
    };
    this.#map.fitBounds(bounds, options);
  }

  #inView(devices) {               // following several: the map moves only when one of them leaves it
    const points = devices.map(({ position }) => [position.lat, position.lon]);
    const { x, y } = this.#map.getSize(), { left, bottom } = this.#padding;
    return this.#placed && this.#map.getZoom() > WORLD_ZOOM && points.every((point) => {
      const at = this.#map.latLngToContainerPoint(point);
      return at.x > left + 24 && at.x < x - 24 && at.y > 24 && at.y < y - bottom - 24;
    });
  }

  #centre({ lat, lon }, zoom = this.#map.getZoom()) {
    const { left, bottom } = this.#padding;
    const middle = this.#map.project([lat, lon], zoom).add([-left / 2, bottom / 2]);
    const target = this.#map.unproject(middle, zoom), size = this.#map.getSize();
    if (zoom === this.#map.getZoom() && this.#map.latLngToContainerPoint(target).distanceTo(size.divideBy(2)) < 1) return;
    this.#map.setView(target, zoom, { animate: !this.#calm.matches && !document.hidden && this.#map.getZoom() === zoom, duration: 0.4 });
  }

  #drawDestination(destination) {
    const key = JSON.stringify(destination || null);
    if (key === this.#flag) return;
    this.#flag = key;
    for (const part of this.#destination || []) part.remove();
    this.#destination = null;
    if (!destination) return;
    const at = [destination.lat, destination.lon], flag = icon("flag", FLAG);
    flag.label.textContent = destination.name;
    this.#destination = [
      L.circle(at, { radius: destination.radius_m, className: "arrival", interactive: false }).addTo(this.#map),
      L.marker(at, { icon: flag.icon, interactive: false, keyboard: false, zIndexOffset: -500 }).addTo(this.#map),
    ];
    this.#destination[1].getElement().setAttribute("aria-hidden", "true");
  }

  #drawDevice({ name, position, trail, stale, chosen, radius }, index, several) {
    const at = [position.lat, position.lon];
    let parts = this.#drawn.get(index);
    if (!parts) {
      parts = icon("device", ARROW);
      parts.circle = L.circle(at, { radius: 1, className: "accuracy", interactive: false }).addTo(this.#map);
      parts.trail = L.polyline([], { className: "trail", interactive: false, smoothFactor: 0, noClip: true }).addTo(this.#map);
      parts.marker = L.marker(at, { icon: parts.icon, keyboard: false, interactive: several }).addTo(this.#map);
      if (several) parts.marker.on("click", () => this.chosen(index));
      // For a pointer only: Leaflet makes no click of a key, and the card's list has a button for each device.
      parts.marker.getElement().setAttribute("aria-hidden", "true");
      this.#drawn.set(index, parts);
    }
    parts.marker.setLatLng(at);
    parts.marker.setZIndexOffset(chosen ? 1000 : 0);
    parts.circle.setLatLng(at).setRadius(radius || 1);
    parts.circle.getElement().toggleAttribute("data-none", !radius);
    parts.trail.setLatLngs(trail.map(({ lat, lon }) => [lat, lon]));
    const arrow = position.heading !== null && !(position.speed !== null && position.speed < 1);
    parts.svg.style.transform = arrow ? `rotate(${position.heading}deg)` : "";
    const element = parts.marker.getElement();
    element.dataset.sign = arrow ? "arrow" : "dot";
    element.dataset.stale = String(stale);
    element.dataset.chosen = String(chosen);
    for (const part of [parts.trail, parts.circle]) part.getElement().toggleAttribute("data-stale", stale);
    const label = several ? name : "";
    if (parts.label.textContent !== label) parts.label.textContent = label;
  }

  #erase(index) {
    const parts = this.#drawn.get(index);
    for (const part of [parts.marker, parts.circle, parts.trail]) part.remove();
    this.#drawn.delete(index);
  }

  // Centre one device, near enough to see its street.
  show(position) {
    this.#centre(position, Math.max(this.#map.getZoom(), NEAR_ZOOM));
  }
}
