// Gets a token of an OpenID provider that is bound to a new key, and calls an API with it (RFC 9449).
//
// node dpop.mjs FOLDER, the folder being that of the installed packages. Stdin is one JSON object: {"library",
// "algorithm", "issuer", "client", "secret", "resource", "api", "calls": [["GET", "/orders"], ...]}. Stdout has a line for
// each request of a call, also for those that the library repeats: {"status", "body", "request": {its fields}}.
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'

const installed = createRequire(process.argv[2] + '/')
const load = (name) => import(pathToFileURL(installed.resolve(name)))
const job = JSON.parse(await text(process.stdin))
const grant = { grant_type: 'client_credentials', resource: job.resource, scope: 'read' }

// What all libraries send to the API passes here.
async function told(url, options) {
  const response = await fetch(url, options)
  const body = await response.clone().text()
  console.log(JSON.stringify({ status: response.status, body, request: options.headers }))
  return response
}

const libraries = {
  async dpop() {
    const { generateKeyPair, generateProof } = await load('dpop')
    const keys = await generateKeyPair(job.algorithm)
    const endpoint = `${job.issuer}/token`
    const answer = await fetch(endpoint, {
      method: 'POST',
      body: new URLSearchParams(grant),
      headers: {
        authorization: `Basic ${btoa(`${job.client}:${encodeURIComponent(job.secret)}`)}`,
        dpop: await generateProof(keys, endpoint, 'POST'),
      },
    })
    const { access_token: token } = await answer.json()
    let nonce
    return async (method, path) => {
      for (let attempt = 0; attempt < 2; attempt += 1) {
        const url = job.api + path
        const dpop = await generateProof(keys, url.split('?')[0], method, nonce, token)
        const response = await told(url, { method, headers: { authorization: `DPoP ${token}`, dpop } })
        nonce = response.headers.get('dpop-nonce') ?? nonce
        if (!response.headers.get('www-authenticate')?.includes('error="use_dpop_nonce"')) break
      }
    }
  },

  async oauth4webapi() {
    const oauth = await load('oauth4webapi')
    const keys = await oauth.generateKeyPair(job.algorithm)
    const client = { client_id: job.client }
    const DPoP = oauth.DPoP(client, keys)
    const options = { DPoP, [oauth.allowInsecureRequests]: true }
    // The API says which algorithms it accepts.
    const api = new URL(job.api)
    const found = await oauth.resourceDiscoveryRequest(api, options)
    const resource = await oauth.processResourceDiscoveryResponse(api, found)
    if (!resource.dpop_signing_alg_values_supported.includes(job.algorithm)) throw new Error('the API does not say so')
    const server = { issuer: job.issuer, token_endpoint: `${job.issuer}/token` }
    const secret = oauth.ClientSecretBasic(job.secret)
    const answer = await oauth.clientCredentialsGrantRequest(server, client, secret, new URLSearchParams(grant), options)
    const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, answer)
    return async (method, path) => {
      const call = () => oauth.protectedResourceRequest(token, method, new URL(job.api + path), new Headers(), null, {
        ...options,
        [oauth.customFetch]: told,
      })
      try {
        await call()
      } catch (error) {
        if (oauth.isDPoPNonceError(error)) await call()
        else if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error
      }
    }
  },

  async 'openid-client'() {
    const client = await load('openid-client')
    const keys = await client.randomDPoPKeyPair(job.algorithm)
    const secret = client.ClientSecretBasic(job.secret)
    const insecure = { execute: [client.allowInsecureRequests] }
    const config = await client.discovery(new URL(job.issuer), job.client, undefined, secret, insecure)
    const DPoP = client.getDPoPHandle(config, keys)
    const { access_token: token } = await client.clientCredentialsGrant(config, grant, { DPoP })
    config[client.customFetch] = told
    return async (method, path) => {
      const url = new URL(job.api + path)
      try {
        await client.fetchProtectedResource(config, token, url, method, null, new Headers(), { DPoP })
      } catch (error) {
        if (!(error instanceof client.WWWAuthenticateChallengeError)) throw error
      }
    }
  },
}

const call = await libraries[job.library]()
for (const [method, path] of job.calls) await call(method, path)
