// Properties of shared streams over random interleavings, with a model of the broker in simulated
// time. Each tab has a filter. No durable event is lost, and none is doubled, or there is a reset.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { TabWorld, simulateTabs } from './support/tab-world.mjs';

const RUNS = Number(process.env.TIDINGS_RUNS ?? 1_000);

/** How often each step is taken, relative to the others. */
const DURABLE = {
  publish: 5, other: 6, beat: 5, receive: 8, receiveAll: 4, message: 10, messages: 6, lose: 1, tick: 8,
  open: 4, openHere: 2, close: 1, disconnect: 1, restart: 1,
};
const WITH_RESETS = { ...DURABLE, trim: 1, endLog: 1, interrupt: 1, restore: 2 };

simulateTabs();

/**
 * Cases that once failed, as steps of `WITH_RESETS`. A leader was away, and a tab joins at the
 * position of its next event.
 */
const KEPT = [[3872, 614, 0, 0, 1739, 0, 2264, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2436, 0, 0, 0]];

async function holds(weights, hasResets, kept = []) {
  const kinds = Object.entries(weights).flatMap(([kind, weight]) => Array(weight).fill(kind));
  const steps = fc.array(fc.nat({ max: kinds.length * 60 - 1 }), { minLength: 20, maxLength: 120 });
  let shared = 0;
  const property = fc.asyncProperty(steps, async (numbers) => {
    const world = new TabWorld();
    try {
      for (const number of numbers) {
        world.step(kinds[number % kinds.length], Math.floor(number / kinds.length));
        await world.turn();
      }
      await world.rest(hasResets);
      world.check();
      if (!hasResets) assert.ok(world.tabs.every(({ seen }) => seen.every(({ n }) => n !== undefined)));
      if (world.tabs.length > 1) shared += 1;
    } finally {
      world.close();
    }
  });
  await fc.assert(property, { numRuns: RUNS, examples: kept.map((numbers) => [numbers]) });
  assert.ok(shared > RUNS / 4, `only ${shared} worlds end with several tabs`);
}

test('tabs with a filter lose no event and share one stream', () => holds(DURABLE, false));

test('tabs get a reset where events may be missing', () => holds(WITH_RESETS, true, KEPT));
