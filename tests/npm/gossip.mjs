// A peer of js-libp2p's gossipsub: `gossip.mjs NUMBER PEERS MESSAGES`. Hosts are called peer0, peer1, ...
// It dials three others; peer0 publishes. All print what comes, and end when everything has.
import './newer.mjs'
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { gossipsub } from '@chainsafe/libp2p-gossipsub'
import { multiaddr } from '@multiformats/multiaddr'

const [number, peers, messages] = process.argv.slice(2).map(Number)
const SIZE = 50_000
const node = await createLibp2p({
  addresses: { listen: ['/ip4/0.0.0.0/tcp/4001'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), pubsub: gossipsub() }
})
const { pubsub } = node.services
let received = 0
pubsub.addEventListener('message', ({ detail }) => {
  const [message, publishedAt] = new TextDecoder().decode(detail.data.subarray(0, 40)).split(' ').map(Number)
  console.log(message, detail.data.length, Date.now() - publishedAt)
  received++
})
pubsub.subscribe('blocks')
await sleep(2000 + number * 37)
for (const distance of [1, 4, 9]) {
  const other = (number + distance) % peers
  if (other === number) continue
  const { address } = await lookup(`peer${other}`)
  await node.dial(multiaddr(`/ip4/${address}/tcp/4001`))
}
await sleep(5000)
for (let message = 0; number === 0 && message < messages; message++) {
  const data = new Uint8Array(SIZE)
  data.set(new TextEncoder().encode(`${message} ${Date.now()} `))
  await pubsub.publish('blocks', data)
  await sleep(3000)
}
while (number !== 0 && received < messages) await sleep(100)
// Others may still be handed what this one has.
await sleep(2000)
await node.stop()
process.exit(0)
