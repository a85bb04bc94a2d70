// Distances and directions on a sphere. Degrees and metres.

const RADIUS_M = 6371008.8;
const radians = (degrees) => degrees * Math.PI / 180;

export function distance(a, b) {
  const dLat = radians(b.lat - a.lat), dLon = radians(b.lon - a.lon);
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(radians(a.lat)) * Math.cos(radians(b.lat)) * Math.sin(dLon / 2) ** 2;
  return 2 * RADIUS_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

export function bearing(a, b) {    // from a to b, 0 is north, clockwise
  const y = Math.sin(radians(b.lon - a.lon)) * Math.cos(radians(b.lat));
  const x = Math.cos(radians(a.lat)) * Math.sin(radians(b.lat)) -
    Math.sin(radians(a.lat)) * Math.cos(radians(b.lat)) * Math.cos(radians(b.lon - a.lon));
  return (Math.atan2(y, x) * 180 / Math.PI + 360) % 360;
}

export const sector = (heading) => Math.round((((heading % 360) + 360) % 360) / 45) % 8;   // 0 north, 1 north-east …

export const turn = (a, b) => Math.abs((a - b + 540) % 360 - 180);   // the angle between two headings, 0 to 180
