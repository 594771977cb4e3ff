// A state of an app, as a table of a database: it has the numbers of all events so far.
import { sleep } from './wait.mjs';

/** Returns the state after an event. It notes which events reached it since its load. */
export const applyNumber = (state, { n }) => {
  return { numbers: new Set(state.numbers).add(n), applied: [...state.applied, n] };
};

export class Database {
  numbers = new Set();
  /** The loads that have begun. */
  loads = 0;
  /** The positions of the loads. */
  positions = [];
  /** How many of the next loads are rejected. */
  failures = 0;
  /** The longest time that a load takes before and after it reads, in milliseconds. */
  loadMs = 0;

  load = async ({ position, signal }) => {
    this.loads += 1;
    this.positions.push(position);
    await sleep(Math.random() * this.loadMs);
    signal.throwIfAborted();
    const numbers = new Set(this.numbers);
    await sleep(Math.random() * this.loadMs);
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error('the database is away');
    }
    return { numbers, applied: [] };
  };

  /** Commits a number, and publishes its event after that. */
  async change(broker, n, headers = {}) {
    this.numbers.add(n);
    await broker.publish('acme', { type: 'NUMBER', n }, headers);
  }
}
