// Exercises a broker with MQTT.js: peer.mjs HOST PORT VERSION (3, 4 or 5). The first thing that is not right ends it.
import assert from 'node:assert/strict'
import mqtt from 'mqtt'

const [host, port, level] = process.argv.slice(2)
const version = Number(level)
const v5 = version === 5
setTimeout(() => {
  console.error('timed out')
  process.exit(1)
}, 40000).unref()
process.on('unhandledRejection', (e) => {
  console.error(e)
  process.exit(1)
})

// Peer keeps what comes in a queue, so that a step reads from top to bottom.
class Peer {
  static async open(clientId, more = {}) {
    const p = new Peer()
    p.messages = []
    p.waiting = []
    const properties = { ...(more.clean === false ? { sessionExpiryInterval: 300 } : {}), ...more.properties }
    p.c = mqtt.connect({
      host, port: Number(port), clientId, protocolVersion: version, protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      reconnectPeriod: 0, clean: true, ...more, properties: v5 ? properties : undefined,
    })
    p.c.on('message', (topic, payload, packet) => {
      const w = p.waiting.shift()
      if (w) w(packet)
      else p.messages.push(packet)
    })
    p.connack = await new Promise((resolve, reject) => {
      p.c.once('connect', resolve)
      p.c.once('error', reject)
    })
    return p
  }

  next() {
    const m = this.messages.shift()
    return m ? Promise.resolve(m) : new Promise((resolve) => this.waiting.push(resolve))
  }

  async want(topic, payload, qos, retain = false) {
    const m = await this.next()
    assert.deepEqual([m.topic, String(m.payload), m.qos, m.retain], [topic, payload, qos, retain])
    return m
  }

  async subscribe(topic, qos, more = {}) {
    const [granted] = await this.c.subscribeAsync(topic, { qos, ...more })
    assert.equal(granted.qos, qos)
  }

  publish(topic, payload, qos, more = {}) {
    return this.c.publishAsync(topic, payload, { qos, ...more })
  }

  // silent: what another publishes now comes next, so nothing came before.
  async silent(other) {
    await this.subscribe('end', 1)
    await other.publish('end', 'end', 1)
    await this.want('end', 'end', 1)
  }

  leave() {
    return this.c.endAsync()
  }

  cut() {
    this.c.on('error', () => {})
    this.c.stream.destroy()
  }
}

async function bothWays() {
  const [a, b] = [await Peer.open('a'), await Peer.open('b')]
  await a.subscribe('to/a/+', 2)
  await b.subscribe('to/b/#', 2)
  for (const qos of [0, 1, 2]) {
    for (const size of [0, 1, 100, 20000]) {
      const payload = 'x'.repeat(size)
      await a.publish('to/b/x', payload, qos)
      await b.want('to/b/x', payload, qos)
      await b.publish('to/a/x', payload, qos)
      await a.want('to/a/x', payload, qos)
    }
  }
  await b.c.unsubscribeAsync('to/b/#')
  await b.silent(a)
  await Promise.all([a.leave(), b.leave()])
}

async function retained() {
  const a = await Peer.open('a')
  for (const qos of [0, 1, 2]) await a.publish(`r/${qos}`, 'kept', qos, { retain: true })
  let b = await Peer.open('b')
  await b.subscribe('r/+', 2)
  const got = []
  for (let i = 0; i < 3; i++) got.push(await b.next())
  assert.deepEqual(got.map((m) => [m.topic, m.qos, m.retain]).sort(), [['r/0', 0, true], ['r/1', 1, true], ['r/2', 2, true]])
  await b.leave()
  for (const qos of [0, 1, 2]) await a.publish(`r/${qos}`, '', qos, { retain: true })
  b = await Peer.open('b')
  await b.subscribe('r/+', 2)
  await b.silent(a)
  await Promise.all([a.leave(), b.leave()])
}

async function will() {
  const watch = await Peer.open('watch')
  await watch.subscribe('w', 1)
  const last = { topic: 'w', payload: Buffer.from('gone'), qos: 1, retain: false }
  await (await Peer.open('mortal', { will: last })).leave()
  await watch.silent(watch)
  ;(await Peer.open('mortal', { will: last })).cut()
  await watch.want('w', 'gone', 1)
  await watch.leave()
}

async function session() {
  const a = await Peer.open('a')
  let away = await Peer.open('away', { clean: false })
  assert.equal(away.connack.sessionPresent, false)
  await away.subscribe('s/#', 2)
  await away.leave()
  for (let i = 0; i < 30; i++) await a.publish('s/x', String(i), 1 + (i % 2))
  away = await Peer.open('away', { clean: false })
  if (version > 3) assert.equal(away.connack.sessionPresent, true)
  const got = []
  for (let i = 0; i < 30; i++) got.push(await away.next())
  for (const qos of [1, 2]) { // QoS 2 is handed on with PUBREL, after later ones of QoS 1
    const want = [...Array(30).keys()].filter((i) => 1 + (i % 2) === qos).map(String)
    assert.deepEqual(got.filter((m) => m.qos === qos).map((m) => String(m.payload)), want)
  }
  await away.leave()
  const fresh = await Peer.open('away')
  assert.equal(fresh.connack.sessionPresent, false)
  await a.publish('s/x', 'no', 1)
  await fresh.silent(a)
  await Promise.all([a.leave(), fresh.leave()])
}

async function propertiesOfMessages() {
  const [a, b] = [await Peer.open('a'), await Peer.open('b', { properties: { topicAliasMaximum: 5, receiveMaximum: 2, maximumPacketSize: 5000 } })]
  await b.subscribe('p', 1, { properties: { subscriptionIdentifier: 4242 } })
  await a.publish('p', 'x'.repeat(6000), 1)
  await a.publish('p', 'question', 1, {
    properties: {
      userProperties: { k: ['1', '3'], a: '2' }, contentType: 'text/plain', responseTopic: 'answer', correlationData: Buffer.from([0, 255]),
      payloadFormatIndicator: true, messageExpiryInterval: 100,
    },
  })
  const { properties: p } = await b.want('p', 'question', 1)
  assert.deepEqual({ ...p.userProperties }, { k: ['1', '3'], a: '2' })
  assert.deepEqual([p.contentType, p.responseTopic, [...p.correlationData], p.payloadFormatIndicator, p.subscriptionIdentifier],
    ['text/plain', 'answer', [0, 255], true, 4242])
  assert.ok(p.messageExpiryInterval >= 90 && p.messageExpiryInterval <= 100)
  for (let i = 0; i < 10; i++) await a.publish('p', String(i), 1)
  for (let i = 0; i < 10; i++) assert.equal(String((await b.next()).payload), String(i))
  await Promise.all([a.leave(), b.leave()])
}

async function options() {
  const [a, b] = [await Peer.open('a'), await Peer.open('b')]
  await a.subscribe('o', 1, { nl: true })
  await b.subscribe('o', 1, { rap: true })
  await a.publish('o', 'kept', 1, { retain: true })
  await b.want('o', 'kept', 1, true)
  await b.subscribe('o', 1, { rh: 2 })
  await b.silent(b)
  await a.publish('o', '', 1, { retain: true })
  await a.silent(b)
  const late = { topic: 'w', payload: Buffer.from('gone'), qos: 1, retain: false, properties: { willDelayInterval: 1, userProperties: { k: 'v' } } }
  await a.subscribe('w', 1)
  ;(await Peer.open('mortal', { clean: false, will: late })).cut()
  assert.deepEqual({ ...(await a.want('w', 'gone', 1)).properties.userProperties }, { k: 'v' })
  await Promise.all([a.leave(), b.leave()])
}

const steps = [bothWays, retained, will, session]
if (v5) steps.push(propertiesOfMessages, options)
for (const step of steps) {
  await step()
  console.log(step.name)
}
process.exit(0)
