// A simulated world: an app with its database, a broker, and pages that follow a state. Time, the
// network and the order of everything are steps of a test.
import assert from 'node:assert/strict';

import { DeniedError } from '../../dist/index.js';
import { BrokerModel, ClientModel } from './broker-model.mjs';

const PAGES_MAX = 3;
/** More turns of promises than any step needs. */
const TURNS = 8;
/** More steps than a world needs to come to rest. */
const ROUNDS = 400;

const PROBLEM = new Map([['content-type', 'application/problem+json']]);
const FORBIDDEN = { type: 'urn:tidings:problem:forbidden', detail: 'no', check: 'subscribe' };

const URL_OF_ALL = 'http://broker.test/api';

/** Replaces timers and `fetch` of this process. A test file calls it once. */
export function simulate() {
  globalThis.setTimeout = (run, ms = 0) => world.addTimer(run, ms);
  globalThis.clearTimeout = (timer) => world.timers.delete(timer);
  globalThis.fetch = (_, { signal }) => world.request(signal);
  // A random part of a pause does not matter here.
  Math.random = () => 0;
}

const openClient = (world, pick) => pick(world.clients.filter(({ isDone }) => !isDone));

/** The steps. `pick` selects one of a list, if it has any. */
const STEPS = {
  change: (world) => world.broker.publish(world.commit()),
  commit: (world) => world.unpublished.push(world.commit()),
  publish: ({ broker, unpublished }) => unpublished.length && broker.publish(unpublished.shift()),
  live: (world) => world.broker.publishLive(world.commit()),
  receive: (world, pick) => openClient(world, pick)?.receive(),
  receiveAll(world, pick) {
    const client = openClient(world, pick);
    while (client?.stream?.queue.length) client.receive();
  },
  head(world, pick) {
    const request = pick(world.requests);
    if (request) request.position ??= world.broker.head;
  },
  respond: (world, pick) => world.respond(pick(world.requests)),
  fail: (world, pick) => world.fail(pick(world.requests)),
  read: (world, pick) => world.read(pick(world.loads)),
  load: (world, pick) => world.endLoad(pick(world.loads)),
  failLoad: (world, pick) => world.endLoad(pick(world.loads), new Error('no database')),
  disconnect: (world, pick) => openClient(world, pick)?.disconnect(),
  connect: (world, pick) => openClient(world, pick)?.connect(world.broker, pick(world.broker.nodes)),
  trim: ({ broker }) => broker.trim(),
  endLog: ({ broker }) => broker.endLog(),
  interrupt: ({ broker }, pick) => broker.interrupt(pick(broker.nodes)),
  restore: ({ broker }, pick) => broker.restore(pick(broker.nodes)),
  restart: (world, pick) => world.restart(pick(world.broker.nodes)),
  timer: (world) => world.runTimer(),
  take: (world) => (world.rendered = { position: world.broker.head }),
  render({ rendered, numbers }) {
    if (rendered) rendered.numbers ??= new Set(numbers);
  },
  open: (world) => world.pages.length < PAGES_MAX && world.open(),
  /** A page continues with a new connection, as after a new value of a provider. */
  handOver(world, pick) {
    const page = pick(world.pages);
    if (page.isEnded) return;
    page.live.close();
    world.open(page.live.saved());
  },
  reload: (world, pick) => pick(world.pages).live.reload(),
  close: (world, pick) => pick(world.pages).live.close(),
  denyRequest: (world, pick) => world.respond(pick(world.requests), true),
  denyLoad: (world, pick) => world.endLoad(pick(world.loads), new DeniedError('no')),
  deny: (world, pick) => openClient(world, pick)?.deny(new DeniedError('no')),
};

let world;

export class World {
  broker = new BrokerModel();
  clients = [];
  pages = [];
  timers = new Set();
  time = 0;
  /** The numbers that the app has committed, and those of them that it has yet to publish. */
  numbers = new Set();
  unpublished = [];
  /** The requests for positions and the loads that have no result yet. */
  requests = [];
  loads = [];
  /** Counts what happens, to say what was before. */
  moment = 0;

  /** A page that a server renders: its position, and after that the numbers that it reads. */
  rendered = undefined;

  /** `join` is the function to test. `connect` and `fetchPosition` replace its own. */
  constructor(join, joining = {}) {
    this.join = join;
    this.joining = joining;
    world = this;
  }

  addTimer(run, ms) {
    const timer = { run, at: this.time + ms };
    this.timers.add(timer);
    return timer;
  }

  runTimer() {
    let next;
    for (const timer of this.timers) if (!next || timer.at < next.at) next = timer;
    if (!next) return;
    this.timers.delete(next);
    this.time = Math.max(this.time, next.at);
    next.run();
  }

  /** Begins a request for a position. */
  request(signal) {
    return new Promise((resolve, reject) => {
      const request = { resolve, reject, position: undefined };
      this.requests.push(request);
      const abort = () => {
        this.requests = this.requests.filter((other) => other !== request);
        reject(signal.reason);
      };
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort);
    });
  }

  connect = (options) => ClientModel.open(options, this.clients);

  /** A quick `fetchPosition`. Its promises are those of the network. */
  fetchPosition = async ({ signal }) => {
    const { status, json } = await this.request(signal);
    if (status !== 200) throw new DeniedError('no');
    return (await json()).position;
  };

  /**
   * Opens a page that follows the state: what another page has saved, or the one that a server has
   * rendered if there is one.
   */
  open(initial) {
    const { connect, fetchPosition = this.fetchPosition } = this.joining;
    const load = { begunAt: (this.moment += 1) };
    if (!initial && this.rendered?.numbers) {
      const { position, numbers } = this.rendered;
      initial = { state: { load, numbers, applied: [] }, position };
      this.rendered = undefined;
    }
    const page = { resetAt: -1, isEnded: false, lastLoad: initial?.state.load };
    page.snapshot = initial && { state: initial.state, status: 'connecting' };
    this.pages.push(page);
    const check = (condition, text) => {
      if (!condition) page.failure ??= new Error(text);
    };
    page.live = this.join({
      url: URL_OF_ALL,
      workspace: 'acme',
      initial,
      fetchPosition,
      connect: (options) => {
        check(!page.isEnded, 'a closed page connects');
        const onReset = (...reset) => {
          page.resetAt = this.moment += 1;
          options.onReset(...reset);
        };
        if (connect) return connect({ ...options, onReset });
        page.client = ClientModel.open({ ...options, onReset }, this.clients);
        return page.client;
      },
      load: ({ position, signal }) =>
        new Promise((resolve, reject) => {
          check(!page.isEnded, 'a closed page loads');
          const load = { page, resolve, reject, signal, position, numbers: undefined };
          load.begunAt = this.moment += 1;
          this.loads.push(load);
        }),
      apply: (state, { n }) => {
        check(!page.isEnded, 'a closed page applies');
        check(!state.applied.includes(n), `${n} is applied twice`);
        return {
          load: state.load,
          numbers: new Set(state.numbers).add(n),
          applied: [...state.applied, n],
        };
      },
      onChange: (snapshot) => {
        check(!page.isEnded || snapshot.status === 'closed' || snapshot.status === 'denied', 'a closed page changes');
        const { load } = snapshot.state ?? {};
        if (load !== page.lastLoad) {
          check(load.begunAt > page.resetAt, 'a load that a reset has outdated is shown');
          page.lastLoad = load;
        }
        if (page.snapshot?.state) check(snapshot.state, 'the old state disappears');
        page.snapshot = snapshot;
        if (snapshot.status === 'closed' || snapshot.status === 'denied') page.isEnded = true;
      },
      onWarning: () => undefined,
    });
  }

  commit() {
    const n = this.numbers.size + 1;
    this.numbers.add(n);
    return n;
  }

  /** Reads the state for a load, at one moment. */
  read(load) {
    if (load) load.numbers ??= new Set(this.numbers);
  }

  respond(request, denied = false) {
    if (!request) return;
    this.requests = this.requests.filter((other) => other !== request);
    if (denied) return request.resolve({ status: 403, headers: PROBLEM, json: async () => FORBIDDEN });
    const position = (request.position ??= this.broker.head);
    request.resolve({ status: 200, json: async () => ({ position }) });
  }

  fail(request) {
    if (!request) return;
    this.requests = this.requests.filter((other) => other !== request);
    request.reject(new Error('no network'));
  }

  endLoad(load, error) {
    if (!load) return;
    this.loads = this.loads.filter((other) => other !== load);
    if (error) return load.reject(error);
    this.read(load);
    load.resolve({ load, numbers: load.numbers, applied: [] });
  }

  restart(node) {
    const streams = this.broker.restart(node);
    for (const client of this.clients) if (streams.includes(client.stream)) client.lose();
  }

  /** Takes one step. `choice` selects among the things of its kind. */
  step(kind, choice) {
    STEPS[kind](this, (list) => list[choice % list.length]);
  }

  /** Lets all promises run. */
  async turn() {
    for (let turn = 0; turn < TURNS; turn += 1) await null;
    for (const { failure } of this.pages) if (failure) throw failure;
    this.checkGaps();
  }

  /** Each page either has all numbers, or is to get them or a reset. */
  checkGaps() {
    for (const { snapshot, client } of this.pages) {
      if (!client?.stream?.node.isUp || !snapshot?.state || snapshot.status === 'reloading') continue;
      const { queue } = client.stream;
      if (queue.some(({ type }) => type === 'reset')) continue;
      const numbers = new Set([...snapshot.state.numbers, ...queue.map(({ n }) => n), ...this.unpublished]);
      for (const n of this.numbers) assert.ok(numbers.has(n), `${n} is lost`);
    }
  }

  /** Lets everything come to rest, and checks that each page has all numbers. */
  async rest(choices) {
    const { broker } = this;
    for (const n of this.unpublished.splice(0)) broker.publish(n);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const node of broker.nodes) broker.restore(node);
      for (const request of this.requests) this.respond(request);
      for (const load of this.loads) this.endLoad(load);
      for (const [index, client] of this.clients.entries()) {
        const choice = choices[(round + index) % choices.length] ?? 0;
        client.connect(broker, broker.nodes[choice % 2]);
        while (client.stream?.queue.length) client.receive();
      }
      await this.turn();
      if (!this.requests.length && !this.loads.length) {
        if (!this.timers.size) break;
        this.runTimer();
        await this.turn();
      }
    }
    for (const page of this.pages) {
      const { status, state } = page.live.current();
      if (page.isEnded) {
        assert.ok(status === 'closed' || status === 'denied', `an ended page is ${status}`);
        continue;
      }
      assert.equal(status, 'live');
      assert.deepEqual([...state.numbers].sort((a, b) => a - b), [...this.numbers]);
      page.live.close();
      assert.equal(page.live.current().status, 'closed');
    }
    while (this.timers.size) this.runTimer();
    await this.turn();
    assert.ok(this.clients.every(({ isDone }) => isDone), 'a connection has no page');
  }
}
