// An OpenID provider (npm oidc-provider, certified) with its own sign-in form, for tests.
//
// Reads one JSON object from the first line of standard input: {client_id, client_secret, redirect_uri, logout_uri,
// people: {<login>: {name, groups}}}; writes {"port": ...} and serves until it is ended. Any password will do.
import http from 'node:http';
import readline from 'node:readline';
import { Provider } from 'oidc-provider';

const lines = readline.createInterface({ input: process.stdin });
const given = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
const server = http.createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: given.client_id,
      client_secret: given.client_secret,
      redirect_uris: [given.redirect_uri],
      post_logout_redirect_uris: [given.logout_uri],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    },
  ],
  pkce: { required: () => true },
  claims: { openid: ['sub'], profile: ['name', 'groups'] },
  conformIdTokenClaims: given.userinfo_only === true,
  findAccount: (_, login) => {
    const person = given.people[login];
    return person && { accountId: login, claims: () => ({ sub: login, ...person }) };
  },
  cookies: { keys: ['for tests only'] },
  ttl: { Session: 600, Interaction: 600, Grant: 600, AccessToken: 600, IdToken: 600, AuthorizationCode: 60 },
});
server.on('request', provider.callback());
process.stdout.write(`${JSON.stringify({ port })}\n`);
