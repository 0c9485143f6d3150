// npm jose against a running node: each reads what the other wrote.
// Environment: URL, TOKEN. Prints one line per agreement; the first disagreement ends the program.
import assert from "node:assert/strict";
import * as jose from "jose";

const { URL: base, TOKEN } = process.env;
const FAR = 4_000_000_000;
const ASYMMETRIC = {
  rs256: "RS256", rs384: "RS384", rs512: "RS512", ps256: "PS256", ps384: "PS384", ps512: "PS512",
  es256: "ES256", es384: "ES384", eddsa: "EdDSA",
};

async function call(path, body) {
  const answer = await fetch(base + path, {
    method: body ? "POST" : "GET",
    headers: { Authorization: `Bearer ${TOKEN}` },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

const verdict = (token) => call("/v1/tokens/verify", { token });

const { issuer } = await call("/.well-known/openid-configuration");
for (const type of Object.keys(ASYMMETRIC)) await call("/v1/keys", { name: `ours-${type}`, type });
const jwks = jose.createRemoteJWKSet(new URL(`${base}/.well-known/jwks.json`));
for (const [type, alg] of Object.entries(ASYMMETRIC)) {
  const { token } = await call("/v1/tokens", { key: `ours-${type}`, subject: "alice", audience: "shop" });
  const { payload, protectedHeader } = await jose.jwtVerify(token, jwks, { issuer, audience: "shop", algorithms: [alg] });
  assert.equal(payload.sub, "alice");
  assert.deepEqual(Object.keys(protectedHeader), ["alg", "kid", "typ"]);
  console.log("jose reads", alg);

  const pair = await jose.generateKeyPair(alg, { extractable: true });
  const material = await jose.exportPKCS8(pair.privateKey);
  const made = await call("/v1/keys/import", { name: `theirs-${type}`, type, material });
  const { kid } = made.versions.at(-1);
  assert.equal(kid, await jose.calculateJwkThumbprint(await jose.exportJWK(pair.publicKey)));
  const theirs = await new jose.SignJWT({ exp: FAR }).setProtectedHeader({ alg, kid }).sign(pair.privateKey);
  assert.equal((await verdict(theirs)).valid, true);
  console.log("reads jose's", alg);
}

const raw = crypto.getRandomValues(new Uint8Array(32));
await call("/v1/keys/import", {
  name: "jwe", type: "aes256-gcm", usage: "token", kid: "kid-jwe", material: Buffer.from(raw).toString("base64"),
});
const { token } = await call("/v1/tokens", { key: "jwe", subject: "alice" });
const opened = await jose.jwtDecrypt(token, raw, { issuer });
assert.equal(opened.payload.sub, "alice");
assert.deepEqual(Object.keys(opened.protectedHeader), ["alg", "enc", "kid"]);
const sealed = await new jose.EncryptJWT({ exp: FAR, role: "r" })
  .setProtectedHeader({ alg: "dir", enc: "A256GCM", kid: "kid-jwe" }).encrypt(raw);
assert.equal((await verdict(sealed)).claims.role, "r");
console.log("both read JWE");
console.log("agreed");
