// An OpenID provider for tests: the certified `oidc-provider`, configured.
//
//   node provider.mjs ACCOUNTS.json
//
// ACCOUNTS.json maps a login to the claims of its account and is read anew each time. Any password will do. When it
// listens, one line of JSON on standard output says where: {"issuer": "http://127.0.0.1:PORT"}.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const [accountsFile] = process.argv.slice(2);
const API = 'https://api.freehold.test';
const accounts = () => JSON.parse(readFileSync(accountsFile, 'utf-8'));

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        // A native application may come back to any port of the loopback address (RFC 8252, 7.3).
        application_type: 'native',
        client_id: 'freehold',
        client_secret: 'a-secret-of-the-tests',
        redirect_uris: ['http://127.0.0.1/signin/callback/corp'],
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
      {
        application_type: 'native',
        client_id: 'program',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/done'],
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    scopes: ['openid', 'groups'],
    cookies: { keys: ['a key of the tests'] },
    pkce: { required: () => true },
    async findAccount(_ctx, id) {
      const claims = accounts()[id];
      return claims && { accountId: id, claims: () => ({ sub: id, ...claims }) };
    },
    async extraTokenClaims(_ctx, token) {
      return token.accountId ? accounts()[token.accountId] : {};
    },
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => [],
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'openid email groups', audience: API, accessTokenTTL: 600, accessTokenFormat: 'jwt',
        }),
      },
    },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  });
  server.on('request', provider.callback());
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});
