// A certified OpenID provider on loopback: node provider.mjs FOLDER, the folder being that of the installed packages.
//
// Each line on stdin is {"keys": [private JWKs], "port": 0}: from then on these keys are published, and the first that
// fits signs. The answer is a line on stdout, {"port": 40123, "asked": {"/jwks": 2}}: where it listens since the first
// line, and how often which path was asked for. What it keeps it keeps in memory, and it ends with its stdin.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'

const installed = createRequire(process.argv[2] + '/')
const { default: Provider, interactionPolicy } = await import(pathToFileURL(installed.resolve('oidc-provider')))

// The addresses of two APIs, and the names by which tokens call them.
const APIS = { 'https://orders.example/': 'orders', 'https://stock.example/': 'stock' }
const SCOPES = 'read write'
const USERS = { alice: { password: 'correct horse', otp: '755224', roles: ['admin', 'cashier'] } }

const FORMS = ['RS256', 'ES256', 'EdDSA', 'PS256', 'opaque']
const MACHINE = { client_secret: 'a secret of a client', redirect_uris: [], response_types: [], scope: SCOPES }
const PUBLIC = { token_endpoint_auth_method: 'none', scope: `openid ${SCOPES}` }
const CLIENTS = [
  // The end of its name says what the access tokens of a client look like.
  ...FORMS.map((form) => ({ ...MACHINE, client_id: `batch-${form}`, grant_types: ['client_credentials'] })),
  ...FORMS.map((form) => ({ ...PUBLIC, client_id: `web-${form}`, redirect_uris: ['https://web.example/back'] })),
  // The API itself, which may only ask about tokens.
  { ...MACHINE, client_id: 'orders', grant_types: [] },
]

// RFC 9470 section 5: who asks for a class of login has it, or logs in.
const policy = interactionPolicy.base()
policy.get('login').checks.add(new interactionPolicy.Check('acr_values', 'another login is needed', ({ oidc }) => {
  const wanted = oidc.params.acr_values
  return wanted !== undefined && !wanted.split(' ').includes(oidc.acr)
}))

function apiAt(ctx, address, client) {
  const form = client.clientId.split('-')[1]
  const opaque = { scope: SCOPES, audience: APIS[address], accessTokenFormat: 'opaque' }
  return form === 'opaque' ? opaque : { ...opaque, accessTokenFormat: 'jwt', jwt: { sign: { alg: form } } }
}

// Roles where Keycloak has them, and what is known of the login (RFC 9068 section 2.2.1).
function moreClaims({ oidc }, { accountId, clientId }) {
  const { acr, authTime } = oidc.entities.AuthorizationCode ?? {}
  return { realm_access: { roles: USERS[accountId]?.roles ?? [clientId] }, acr, auth_time: authTime }
}

// Nobody is asked for consent: all the clients are ours.
async function consented({ oidc: { client, session, provider } }) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId })
  grant.addOIDCScope(`openid ${SCOPES}`)
  Object.keys(APIS).forEach((address) => grant.addResourceScope(address, SCOPES))
  await grant.save()
  return grant
}

const CONFIGURATION = {
  acrValues: ['pwd', 'mfa'],
  clients: CLIENTS,
  cookies: { keys: ['a secret of the provider'] },
  extraTokenClaims: moreClaims,
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: apiAt },
    revocation: { enabled: true },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { policy, url: (ctx, { uid }) => `/interaction/${uid}` },
  loadExistingGrant: consented,
  scopes: ['openid', ...SCOPES.split(' ')],
}

// The login: a password, and a second factor where mfa is asked for. `ago` is for one made elsewhere, so long ago.
async function logIn(provider, request, response) {
  const { params } = await provider.interactionDetails(request, response)
  const factors = ['password', ...(params.acr_values === 'mfa' ? ['otp'] : [])]
  const form = new URLSearchParams(request.method === 'POST' ? await text(request) : '')
  const user = USERS[form.get('user')]
  if (user !== undefined && factors.every((factor) => form.get(factor) === user[factor])) {
    const ts = Math.floor(Date.now() / 1000) - Number(form.get('ago') ?? 0)
    const login = { accountId: form.get('user'), acr: factors.length > 1 ? 'mfa' : 'pwd', ts }
    await provider.interactionFinished(request, response, { login })
  } else {
    const inputs = ['user', ...factors].map((name) => `<input name="${name}">`)
    response.setHeader('Content-Type', 'text/html')
    response.end(`<form method="post">${inputs.join('')}<button>Log in</button></form>`)
  }
}

let provider
const asked = {}
const server = createServer((request, response) => {
  const [path] = request.url.split('?')
  asked[path] = (asked[path] ?? 0) + 1
  if (path.startsWith('/interaction/')) {
    logIn(provider, request, response).catch((error) => response.writeHead(500).end(String(error)))
  } else {
    provider.callback()(request, response)
  }
})

for await (const line of createInterface({ input: process.stdin })) {
  const { keys, port } = JSON.parse(line)
  if (!server.listening) await once(server.listen(port, '127.0.0.1'), 'listening')
  const at = server.address().port
  if (keys) provider = new Provider(`http://127.0.0.1:${at}`, { ...CONFIGURATION, jwks: { keys } })
  console.log(JSON.stringify({ port: at, asked }))
}
process.exit()
