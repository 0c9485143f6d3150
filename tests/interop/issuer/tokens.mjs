// A real OpenID provider that gives tokens for authorization codes, changes refresh tokens with each use, revokes and introspects.
//
// Prints its issuer. For each line that it reads it prints a code for a user who has logged in: line = challenge (S256) of the code.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const server = createServer();
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `http://127.0.0.1:${server.address().port}`;
const redirectUri = "https://app.example/back";

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "app",
      client_secret: "secret of the app: a+b",
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: [redirectUri],
      response_types: ["code"],
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  rotateRefreshToken: true,
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  ttl: { AccessToken: 3600, AuthorizationCode: 60, RefreshToken: 86400, Grant: 86400, IdToken: 3600 },
  features: {
    devInteractions: { enabled: false },
    // Ours, as the default ones are, which would have something to say of it between the codes.
    revocation: { enabled: true, allowedPolicy: async () => true },
    introspection: { enabled: true, allowedPolicy: async () => true },
  },
});
server.on("request", provider.callback());
console.log(issuer);

for await (const codeChallenge of createInterface({ input: process.stdin })) {
  const client = await provider.Client.find("app");
  const grant = new provider.Grant({ accountId: "alice", clientId: "app" });
  grant.addOIDCScope("openid offline_access");
  const grantId = await grant.save();
  const scope = "openid offline_access";
  const code = new provider.AuthorizationCode({
    client, accountId: "alice", grantId, redirectUri, scope, codeChallenge, codeChallengeMethod: "S256", gty: "authorization_code",
  });
  console.log(await code.save());
}
process.exit(0);
