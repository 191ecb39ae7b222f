// A certified OpenID provider that gives JWT access tokens to a client of its own: the gate must get along
// with what others make, not only with the test issuer. Prints `listening HOST:PORT`.
import http from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const key = (kid, alg, kind, options) => {
  const { privateKey } = generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
};

const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const address = `127.0.0.1:${server.address().port}`;
  const resource = (alg) => ({
    scope: 'api',
    audience: 'gate',
    accessTokenFormat: 'jwt',
    accessTokenTTL: 300,
    jwt: { sign: { alg } },
  });
  const provider = new Provider(`http://${address}`, {
    clients: [
      { client_id: 'ci', client_secret: 'ci-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
    ],
    jwks: {
      keys: [
        key('rsa-1', 'RS256', 'rsa', { modulusLength: 2048 }),
        key('ec-1', 'ES256', 'ec', { namedCurve: 'P-256' }),
      ],
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:gitlab:rsa',
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, indicator) => resource(indicator.endsWith(':ec') ? 'ES256' : 'RS256'),
      },
    },
    extraTokenClaims: () => ({ roles: ['developer'] }),
  });
  server.on('request', provider.callback());
  console.log(`listening ${address}`);
});
