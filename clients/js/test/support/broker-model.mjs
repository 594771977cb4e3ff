// A model of nodes over one log, as docs/protocol.md defines positions, replays and resets. Nothing
// happens by itself: a test takes each step, in any order.

/** A position is the text `EPOCH.SEQUENCE`, with `~NODE.NUMBER` for a place beside the log. */
function parse(position) {
  const [place, beside] = position.split('~');
  const [epoch, sequence] = place.split('.').map(Number);
  return { epoch, sequence, beside };
}

export class BrokerModel {
  epoch = 0;
  /** The durable events of the epoch that the log still has: `{ id, n, sequence, tick }`. */
  log = [];
  sequence = 0;
  /** The sequence of the last event that was trimmed. */
  trimmed = 0;
  /** A clock, which each publication advances. */
  tick = 0;
  /** The mark: the tick of the last live event. */
  mark = 0;
  /** The tick of each durable event, and of the begin of each epoch. */
  ticks = new Map([['0.0', 0]]);
  nodes = [0, 1].map((name) => ({ name, life: 0, isUp: true, ring: [], numbered: 0, streams: new Set() }));

  get head() {
    return `${this.epoch}.${this.sequence}`;
  }

  /** Publishes a number durably. */
  publish(n) {
    this.sequence += 1;
    this.tick += 1;
    const event = { id: this.head, n };
    this.ticks.set(event.id, this.tick);
    this.log.push({ ...event, sequence: this.sequence });
    this.#send(() => event);
  }

  /** Publishes a number by a plain PUBLISH: no log has it. */
  publishLive(n) {
    this.tick += 1;
    this.mark = this.tick;
    this.#send((node) => ({ id: this.#beside(node, this.head), n }));
  }

  #beside(node, position) {
    node.numbered += 1;
    return `${position.split('~')[0]}~${node.name}:${node.life}.${node.numbered}`;
  }

  #send(eventFor) {
    for (const node of this.nodes) {
      if (!node.isUp) continue;
      const event = eventFor(node);
      node.ring.push(event);
      for (const stream of node.streams) stream.queue.push({ type: 'event', ...event });
    }
  }

  /** Removes the older half of the log, and of the rings. */
  trim() {
    const removed = this.log.splice(0, Math.ceil(this.log.length / 2));
    this.trimmed = removed.at(-1)?.sequence ?? this.trimmed;
    for (const node of this.nodes) node.ring.splice(0, Math.ceil(node.ring.length / 2));
  }

  /** The log ends, and another one begins. */
  endLog() {
    this.epoch += 1;
    this.log = [];
    this.sequence = this.trimmed = 0;
    this.ticks.set(this.head, this.tick);
  }

  /** The link of a node to the bus ends: it receives nothing. */
  interrupt(node) {
    if (!node.isUp) return;
    node.isUp = false;
    for (const stream of node.streams) stream.queue.push({ type: 'away' });
  }

  /** The link is up again. What the node has missed has no known place. */
  restore(node) {
    if (node.isUp) return;
    node.isUp = true;
    node.ring = [];
    const id = this.#beside(node, this.head);
    for (const stream of node.streams) stream.queue.push(this.#reset('interrupted', id, id));
  }

  /** A node ends with all its streams, and another one takes its place. */
  restart(node) {
    const streams = [...node.streams];
    Object.assign(node, { life: node.life + 1, isUp: true, ring: [], numbered: 0 });
    for (const stream of streams) this.disconnect(stream);
    return streams;
  }

  #reset(reason, from, head) {
    return { type: 'reset', reason, from, head };
  }

  /** Opens a stream behind a position, or at the head without one. Its messages wait in `queue`. */
  connect(node, position) {
    const stream = { node, queue: this.#replay(node, position) };
    node.streams.add(stream);
    return stream;
  }

  /** Ends a stream. The messages that have not arrived are lost. */
  disconnect(stream) {
    stream.node.streams.delete(stream);
    stream.queue = [];
  }

  #replay(node, position) {
    if (!position) return [{ type: 'connected', resumed: false, id: this.head }];
    const event = ({ id, n }) => ({ type: 'event', id, n });
    const at = node.ring.findIndex(({ id }) => id === position);
    const resumed = { type: 'connected', resumed: true };
    if (at >= 0) return [resumed, ...node.ring.slice(at + 1).map(event)];
    const { epoch, sequence, beside } = parse(position);
    const place = `${epoch}.${sequence}`;
    // The log has to have that very entry, or its first event for the place before it.
    const isProven =
      epoch === this.epoch && (sequence === 0 ? this.trimmed === 0 : sequence > this.trimmed);
    if (!isProven || sequence > this.sequence) {
      const reason = epoch === this.epoch ? 'trimmed' : 'unknown-position';
      return [{ type: 'connected', resumed: false }, this.#reset(reason, position, this.head)];
    }
    const missed = this.log.filter((entry) => entry.sequence > sequence).map(event);
    const mayMiss = this.mark > (beside ? 0 : this.ticks.get(place));
    if (!mayMiss) return [resumed, ...missed];
    // These ids are beside the log, so that a further node sends the reset if this stream ends.
    const replayed = missed.map((one) => ({ ...one, id: this.#beside(node, one.id) }));
    const head = this.#beside(node, this.head);
    return [resumed, ...replayed, this.#reset('live-events', position, head)];
  }
}

/** A model of `connect`: it resumes from its position, and calls the functions of its options. */
export class ClientModel {
  /** Opens a connection, and adds it to a list. */
  static open(options, clients) {
    const client = new ClientModel();
    client.options = options;
    client.position = options.position;
    clients.push(client);
    return client;
  }

  status = 'connecting';
  error = undefined;
  stream = undefined;

  get isDone() {
    return this.status === 'closed' || this.status === 'denied';
  }

  close() {
    this.#finish('closed');
  }

  /** The broker refuses the stream for good. */
  deny(error) {
    if (this.isDone) return;
    this.error = error;
    this.#finish('denied');
  }

  #finish(status) {
    if (this.isDone) return;
    if (this.stream) this.broker.disconnect(this.stream);
    this.stream = undefined;
    this.#setStatus(status);
  }

  #setStatus(status) {
    if (status === this.status) return;
    this.status = status;
    this.options.onStatus?.(status, this.error);
  }

  connect(broker, node) {
    if (this.isDone || this.stream || !node.isUp) return;
    this.broker = broker;
    this.stream = broker.connect(node, this.position);
  }

  /** The stream has ended. */
  lose() {
    if (!this.stream) return;
    this.stream = undefined;
    if (!this.isDone) this.#setStatus('away');
  }

  disconnect() {
    if (!this.stream) return;
    this.broker.disconnect(this.stream);
    this.lose();
  }

  /** Receives the next message. */
  receive() {
    const message = this.stream?.queue.shift();
    if (!message) return;
    if (message.type === 'connected') this.#setStatus(message.resumed ? 'catching-up' : 'live');
    else if (message.type === 'away') this.#setStatus('away');
    else if (message.type === 'event') {
      this.position = message.id;
      this.options.onEvent({ type: 'NUMBER', n: message.n }, message.id);
    } else {
      this.position = message.head;
      this.options.onReset(message.reason, message.from, message.head);
    }
    if (this.stream?.queue.length === 0 && this.stream.node.isUp && !this.isDone) this.#setStatus('live');
  }
}
