// Does the steps of tests/integration/digest_clients.py in one session of digest-fetch.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const lines = []
for await (const line of createInterface({ input: process.stdin })) lines.push(line)
const [base, name, password, algorithm, together, ...steps] = lines

const installed = createRequire(process.argv[2] + '/')
const { DigestClient } = await import(pathToFileURL(installed.resolve('digest-fetch')))
const client = new DigestClient(name, password, { algorithm })

async function take(step) {
  const [target, body] = step.split('\t')
  const options = body === undefined ? {} : { method: 'POST', body }
  try {
    return await (await client.fetch(base + target, options)).text()
  } catch (error) {
    return JSON.stringify({ error: String(error) })
  }
}

if (together === 'together') {
  const first = await take(steps[0])
  console.log([first, ...(await Promise.all(steps.slice(1).map(take)))].join('\n'))
} else {
  for (const step of steps) console.log(await take(step))
}
