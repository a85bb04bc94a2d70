// The server's time, so that a phone whose clock is wrong still says "12 seconds ago". It is learnt from the Date
// header of each answer of init: that is of the same server as the times in the stream, and has been neither cached
// nor kept, which cannot be said of the page or its assets. No frame of the stream says what time it is.

const TRUSTED_MS = 3000;           // the Date header has whole seconds: smaller differences are noise
let offset = 0;

export const now = () => Date.now() + offset;

export function learn(header) {    // the Date header of an answer that came just now
  const difference = Date.parse(header) + 500 - Date.now();
  if (Number.isFinite(difference)) offset = Math.abs(difference) > TRUSTED_MS ? difference : 0;
}

// Milliseconds since a mark of elapsedMark(). performance.now() may stand still while a phone sleeps, and
// Date.now() jumps when its clock is set: the larger is the safe answer to "how long was nothing heard?".
export const elapsedMark = () => ({ steady: performance.now(), wall: Date.now() });
export const elapsed = (mark) => Math.max(performance.now() - mark.steady, Date.now() - mark.wall);
