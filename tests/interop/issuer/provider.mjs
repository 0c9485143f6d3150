// A real OpenID provider that issues access tokens (RFC 9068) for an audience by the client-credentials grant, and rotates its key when told.
//
// Prints its issuer, then a token for each line that it reads: algorithms of the keys that it publishes from then on, and the one that signs.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const key = (kid, alg, type, options) => {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: "jwk" }), kid, alg, use: "sig" };
};
const keys = {
  RS256: key("rsa", "RS256", "rsa", { modulusLength: 2048 }),
  PS256: key("pss", "PS256", "rsa", { modulusLength: 2048 }),
  ES256: key("ec", "ES256", "ec", { namedCurve: "P-256" }),
  EdDSA: key("ed", "EdDSA", "ed25519", {}),
};
let alg = "RS256";

const server = createServer();
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = (names) =>
  new Provider(issuer, {
    jwks: { keys: names.map((name) => keys[name]) },
    clients: [
      { client_id: "job", client_secret: "secret-of-the-job", grant_types: ["client_credentials"], redirect_uris: [], response_types: [], id_token_signed_response_alg: names[0] },
    ],
    ttl: { ClientCredentials: 600 },
    enabledJWA: { idTokenSigningAlgValues: ["RS256", "PS256", "ES256", "EdDSA"] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "https://kms.example",
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: "roles:admin", audience: "kms", accessTokenFormat: "jwt", jwt: { sign: { alg } } }),
      },
    },
  });

let answer = provider(["RS256"]).callback();
server.on("request", (request, response) => answer(request, response));
console.log(issuer);

for await (const line of createInterface({ input: process.stdin })) {
  const [published, signing] = line.split(" ");
  answer = provider(published.split(",")).callback();
  alg = signing;
  const body = new URLSearchParams({ grant_type: "client_credentials", scope: "roles:admin", resource: "https://kms.example" });
  const basic = Buffer.from("job:secret-of-the-job").toString("base64");
  const got = await fetch(`${issuer}/token`, { method: "POST", body, headers: { authorization: `Basic ${basic}` } });
  const { access_token: token, ...rest } = await got.json();
  console.log(token ?? JSON.stringify(rest));
}
process.exit(0);
