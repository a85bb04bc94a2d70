// Makes v4.local tokens with paseto-ts, a PASETO implementation that shares no code with ours, and opens some.
//
//   npm ci && node make.mjs < vectors.json > again.json
//
// The input says what is wanted: {"key": "k4.local.…", "tokens": [{"claims": …, "footer"?: …, "nonce"?: hex,
// "options"?: {…}}], "open"?: [token, …]}. It is written again with a "token" in each of "tokens" and the claims
// of each token to open in "opened". With a nonce a token is the same every time; without one it is random.

import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { decrypt, encrypt } from "paseto-ts/v4";

const wanted = JSON.parse(readFileSync(0, "utf8"));

// Given to the library because Node.js 18 has no globalThis.crypto.
const source = (nonce) => (bytes) => {
  if (nonce === undefined) return webcrypto.getRandomValues(bytes);
  bytes.set(Buffer.from(nonce, "hex"));
  return bytes;
};

for (const one of wanted.tokens) {
  const options = { ...one.options, getRandomValues: source(one.nonce) };
  if (one.footer !== undefined) options.footer = one.footer;
  one.token = encrypt(wanted.key, one.claims, options);
}
if (wanted.open !== undefined) {
  wanted.opened = wanted.open.map((token) => decrypt(wanted.key, token).payload);
}
process.stdout.write(`${JSON.stringify(wanted, null, 2)}\n`);
