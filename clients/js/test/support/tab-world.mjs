// Tabs of one origin in a simulated world. The broker is a model. A test takes the steps of
// channels, streams and the clock, in any order.
import assert from 'node:assert/strict';
import { mock } from 'node:test';

import { connectShared } from '../../dist/tabs.js';
import { BrokerModel } from './broker-model.mjs';

const TABS_MAX = 5;
/** More turns of promises than any step needs. */
const TURNS = 10;
/** More rounds than the tabs need to share one stream. */
const ROUNDS = 100;

/** The texts of positions are those of docs/protocol.md, so that they have an order. */
function writeText(position) {
  const [, epoch, sequence, beside] = /^(\d+)\.(\d+)(.*)$/.exec(position);
  return `${sequence}-0${epoch === '0' ? '' : `.e${epoch}`}${beside}`;
}

function readText(text) {
  const [, sequence, epoch = '0', beside] = /^(\d+)-0(?:\.e(\d+))?(.*)$/.exec(text);
  return `${epoch}.${sequence}${beside}`;
}

let world;

class Channel {
  queue = [];

  constructor(name) {
    this.name = name;
    world.channels.push(this);
  }

  postMessage(data) {
    if (!world.channels.includes(this)) return;
    for (const other of world.channels) {
      if (other !== this && other.name === this.name) other.queue.push(structuredClone(data));
    }
  }

  close() {
    world.channels = world.channels.filter((other) => other !== this);
  }

  /** Passes the next message on, or loses it. */
  take(isLost) {
    const data = this.queue.shift();
    if (data && !isLost) this.onmessage({ data });
  }
}

/** One lock, which is all that the tabs of a world need. */
class Locks {
  held = undefined;
  queue = [];

  request = (_, { steal, signal }, run) =>
    new Promise((resolve, reject) => {
      const mine = { run, resolve, reject };
      if (steal) {
        this.held?.reject(new DOMException('stolen', 'AbortError'));
        this.#hold(mine);
      } else if (this.held) {
        this.queue.push(mine);
      } else {
        this.#hold(mine);
      }
      signal?.addEventListener('abort', () => {
        this.queue = this.queue.filter((other) => other !== mine);
        reject(signal.reason);
      });
    });

  async #hold(mine) {
    this.held = mine;
    await undefined;
    const value = await mine.run();
    mine.resolve(value);
    if (this.held !== mine) return;
    this.held = undefined;
    const next = this.queue.shift();
    if (next) void this.#hold(next);
  }
}

/** Replaces the timers and the platform of this process. A test file calls it once. */
export function simulateTabs() {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_800_000_000_000 });
  // A mocked interval cannot end itself.
  globalThis.setInterval = (run, ms) => {
    const interval = {};
    const wait = () => {
      interval.timer = setTimeout(() => {
        run();
        if (!interval.isOver) wait();
      }, ms);
    };
    wait();
    return interval;
  };
  globalThis.clearInterval = (interval) => {
    interval.isOver = true;
    clearTimeout(interval.timer);
  };
  globalThis.BroadcastChannel = Channel;
  const navigator = { get locks() { return world.locks; } };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
}

/** The steps. `pick` selects one of a list, if it has any. */
const STEPS = {
  publish: (world) => world.publish(true),
  other: (world) => world.publish(false),
  beat: (world, pick) => pick(world.streams)?.messages?.queue.push({ type: 'beat' }),
  receive: (world, pick) => pick(world.streams)?.receive(),
  receiveAll: (world, pick) => pick(world.streams)?.receiveAll(),
  message: (world, pick) => pick(world.channels)?.take(),
  messages(world, pick) {
    const channel = pick(world.channels);
    while (channel?.queue.length) channel.take();
  },
  lose: (world, pick) => pick(world.channels)?.take(true),
  tick: (_, pick) => mock.timers.tick(pick([50, 400, 1_100])),
  open: (world, pick) => world.tabs.length < TABS_MAX && world.open(pick(world.places)),
  openHere: (world) => world.tabs.length < TABS_MAX && world.open({}),
  close: (world, pick) => pick(world.tabs)?.connection.close(),
  disconnect: (world, pick) => pick(world.streams)?.lose(),
  restart: (world, pick) => world.restart(pick(world.broker.nodes)),
  trim: ({ broker }) => broker.trim(),
  endLog: ({ broker }) => broker.endLog(),
  interrupt: ({ broker }, pick) => broker.interrupt(pick(broker.nodes)),
  restore: ({ broker }, pick) => broker.restore(pick(broker.nodes)),
};

export class TabWorld {
  broker = new BrokerModel();
  channels = [];
  locks = new Locks();
  streams = [];
  tabs = [];
  count = 0;
  /** The events that match the filter of the tabs. */
  matching = new Set();
  /** The positions from which a tab may begin, and the count of events at each. */
  places = [];
  /** The node that gets the next stream. */
  nodeAt = 0;

  constructor() {
    world = this;
    // So a failing case can be repeated.
    let seed = 1;
    Math.random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    this.#notePlace();
  }

  #notePlace() {
    this.places.push({ position: writeText(this.broker.head), count: this.count });
  }

  publish(isForTabs) {
    this.count += 1;
    if (isForTabs) this.matching.add(this.count);
    this.broker.publish(this.count);
    this.#notePlace();
  }

  open({ position, count }) {
    // What a tab receives, and how many events there were at that time. A tab without a position
    // has to receive the events that are published after it is live.
    const tab = { first: count ?? 0, from: count, seen: [] };
    tab.connection = connectShared({
      url: 'http://broker.test/api',
      workspace: 'acme',
      user: 'ann',
      position,
      heartbeatMs: 1_000,
      events: { NUMBER: ({ n }) => tab.seen.push({ n, count: this.count }) },
      onReset: () => tab.seen.push({ count: this.count }),
      onWarning() {},
      onStatus: (status) => status === 'live' && (tab.from ??= this.count),
      transport: (...parameters) => this.#connect(...parameters),
    });
    this.tabs.push(tab);
  }

  #connect(stream, url, headers, withCredentials, onMessage) {
    return new Promise((resolve) => {
      const text = url.searchParams.get('last_event_id');
      this.nodeAt += 1;
      const node = this.broker.nodes[this.nodeAt % 2];
      const { broker } = this;
      let place = text;
      const opened = {
        // Until it is received from, its request is on the way, and events may be published.
        messages: undefined,
        arrive() {
          if (this.messages) return;
          this.messages = broker.connect(node, text && readText(text));
          stream.headAt = stream.byteAt = Date.now();
        },
        receive() {
          this.arrive();
          const message = this.messages.queue.shift();
          if (!message || message.type === 'away') return;
          stream.byteAt = Date.now();
          stream.hasBytes = true;
          const { type, id, n, head, from, reason, resumed } = message;
          if (type === 'connected') {
            place ??= writeText(id);
            const json = JSON.stringify({ type, resumed, heartbeatMs: 1_000 });
            onMessage('message', json, resumed || !text ? place : '');
          } else if (type === 'event') {
            place = writeText(id);
            if (world.matching.has(n)) onMessage('message', JSON.stringify({ type: 'NUMBER', n }), place);
          } else if (type === 'reset') {
            place = writeText(head);
            const data = { reason, from: writeText(from), head: place };
            onMessage('tidings.reset', JSON.stringify(data), place);
          } else {
            onMessage('tidings.heartbeat', JSON.stringify({ live: node.isUp }), place);
          }
        },
        receiveAll() {
          this.arrive();
          while (this.messages.queue.length && world.streams.includes(opened)) opened.receive();
        },
        lose: () => {
          if (opened.messages) broker.disconnect(opened.messages);
          this.streams = this.streams.filter((other) => other !== opened);
          resolve({});
        },
      };
      this.streams.push(opened);
      stream.signal.addEventListener('abort', opened.lose);
    });
  }

  restart(node) {
    const ended = this.broker.restart(node);
    for (const stream of this.streams) if (ended.includes(stream.messages)) stream.lose();
  }

  step(kind, number) {
    STEPS[kind](this, (list) => list[number % (list.length || 1)]);
    this.tabs = this.tabs.filter(({ connection }) => connection.status !== 'closed');
  }

  async turn() {
    for (let turn = 0; turn < TURNS; turn += 1) await undefined;
    for (const { connection } of this.tabs) {
      const hasPlace = connection.status !== 'live' || connection.position;
      assert.ok(hasPlace, 'a live tab has no position, so its next stream would begin anywhere');
    }
  }

  /**
   * Passes everything on until the tabs share one stream and have the last event. Without `isMixed`
   * they share it under events for none of them, so that no two streams have a common position.
   * Places beside the log have no order: with them, tabs need a common event.
   */
  async rest(isMixed) {
    this.broker.nodes.forEach((node) => this.broker.restore(node));
    await this.#until(() => this.#isShared, () => this.publish(isMixed));
    this.publish(true);
    const isDone = () => this.#isShared && this.tabs.every(({ seen }) => seen.at(-1)?.n === this.count);
    await this.#until(isDone, (round) => isMixed && round % 20 === 19 && this.publish(true));
  }

  get #isShared() {
    const isLive = this.tabs.every(({ connection }) => connection.status === 'live');
    return isLive && this.streams.length === Math.min(this.tabs.length, 1);
  }

  async #until(isDone, beforeBeat) {
    for (let round = 0; round === 0 || !isDone(); round += 1) {
      const statuses = this.tabs.map(({ connection }) => connection.status);
      assert.ok(round < ROUNDS, `${this.streams.length} streams for tabs that are ${statuses}`);
      for (const stream of this.streams) {
        beforeBeat(round);
        stream.arrive();
        stream.messages.queue.push({ type: 'beat' });
      }
      for (const stream of this.streams) stream.receiveAll();
      await this.turn();
      for (const channel of [...this.channels]) {
        while (channel.queue.length) channel.take();
        await this.turn();
      }
      mock.timers.tick(300);
      await this.turn();
    }
  }

  /** Ends the world. Its timers would go on in the next one. */
  close() {
    this.tabs.forEach(({ connection }) => connection.close());
  }

  /** Checks what each tab has received. */
  check() {
    for (const { first, from, seen } of this.tabs) {
      let last = first;
      for (const { n } of seen) {
        if (n !== undefined) assert.ok(n > last, `${n} after ${last}`);
        last = n ?? 0;
      }
      const numbers = new Set(seen.map(({ n }) => n));
      // A reset says that events before it may be missing.
      const reset = seen.findLast(({ n }) => n === undefined)?.count ?? from;
      for (let n = reset + 1; n <= this.count; n += 1) {
        if (this.matching.has(n)) assert.ok(numbers.has(n), `${n} of ${this.count} is lost`);
      }
    }
  }
}
