// The server of event streams that is written by hand where one is needed quickly: a map from workspaces to responses,
// and one subscription in Redis that writes to them. It is here to be compared with.
//
//   node naive.js PORT REDIS_URL       with the npm package `redis` where Node finds it (NODE_PATH)
//
// What it lacks: a client that comes back has missed what came meanwhile, and is not told; one that reads slowly fills the
// process's memory; there are no heartbeats, no limits and no authentication.
'use strict'
const http = require('node:http')
const { createClient } = require('redis')

const [port, redisUrl] = process.argv.slice(2)
const workspaces = new Map()

const server = http.createServer((request, response) => {
  const found = /^\/workspaces\/([\w-]+)\/events$/.exec(request.url)
  if (!found) return response.writeHead(404).end()
  const workspace = found[1]
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
  response.write(`data: {"type":"connected","workspaceId":"${workspace}"}\n\n`)
  if (!workspaces.has(workspace)) workspaces.set(workspace, new Set())
  const clients = workspaces.get(workspace)
  clients.add(response)
  request.on('close', () => {
    clients.delete(response)
    if (clients.size === 0 && workspaces.get(workspace) === clients) workspaces.delete(workspace)
  })
})

async function main () {
  const redis = createClient({ url: redisUrl })
  redis.on('error', error => {
    console.error(error)
    process.exit(1)
  })
  await redis.connect()
  await redis.pSubscribe('workspace:*', (payload, channel) => {
    const frame = `data: ${payload}\n\n`
    for (const client of workspaces.get(channel.slice('workspace:'.length)) ?? []) client.write(frame)
  })
  server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 }, () => {
    console.log(`listening on 127.0.0.1:${server.address().port}`)
  })
}

main()
