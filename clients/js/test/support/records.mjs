// A connection, and everything that it reports.
import { connect } from '../../dist/index.js';
import { eventually } from './wait.mjs';

export const WORKSPACE = 'acme';

/** Opens a connection that ends with the test, and records what it reports. */
export function record(test, options) {
  const records = { events: [], texts: [], resets: [], statuses: [], warnings: [] };
  records.connection = connect({
    workspace: WORKSPACE,
    heartbeatMs: 1000,
    onEvent: (event, id) => records.events.push({ ...event, id }),
    onPayload: (text) => records.texts.push(text),
    onReset: (reason, from, head) => records.resets.push({ reason, from, head }),
    onStatus: (status) => records.statuses.push(status),
    onWarning: (text) => records.warnings.push(text),
    ...options,
  });
  test.after(() => records.connection.close());
  records.numbers = () => records.events.map((event) => event.n);
  // A status may last for less than the pause between two looks.
  let reached = 0;
  records.reaches = (status) => eventually(`the status is ${status} after ${records.statuses}`, () => {
    const at = records.statuses.indexOf(status, reached);
    if (at >= 0) reached = at;
    return at >= 0;
  });
  records.has = (count) => eventually(`${count} events arrive, not ${records.events.length}`, () => {
    return records.events.length >= count;
  });
  return records;
}

/** The numbers from 1 to `count`: every event once, in order. */
export const numbersTo = (count) => Array.from({ length: count }, (_, index) => index + 1);

/** Publishes numbered events until it is stopped. */
export class NumberedPublisher {
  count = 0;
  #isStopped = false;
  #done;

  /** Begins to publish. It stops with the test. */
  constructor(test, broker, { headers = {}, pauseMs = 20, type = 'NUMBER' } = {}) {
    this.#done = (async () => {
      while (!this.#isStopped) {
        this.count += 1;
        await broker.publish(WORKSPACE, { type, n: this.count }, headers);
        await new Promise((done) => setTimeout(done, pauseMs));
      }
    })();
    // `stop` reports the failure.
    this.#done.catch(() => undefined);
    test.after(() => (this.#isStopped = true));
  }

  /** Returns the number of published events, each of them acknowledged. */
  async stop() {
    this.#isStopped = true;
    await this.#done;
    return this.count;
  }
}
