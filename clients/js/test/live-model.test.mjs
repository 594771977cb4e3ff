// Properties of the join over random interleavings, against a model of the broker in simulated
// time. No event is lost, and none is applied twice for one load. Otherwise a reset makes it load
// again.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import fc from 'fast-check';

import { joinState } from '../dist/join.js';
import { shareConnection } from '../dist/react/shared-connection.js';
import { World, simulate } from './support/simulation.mjs';

/** The number of interleavings of the largest test. */
const RUNS = Number(process.env.TIDINGS_RUNS ?? 100_000);

/** How often each step is taken, relative to the others. */
const WEIGHTS = {
  change: 5, commit: 3, publish: 3, live: 2, receive: 5, receiveAll: 5, head: 3, respond: 5, fail: 1,
  read: 4, load: 5, failLoad: 1, disconnect: 3, connect: 7, trim: 2, endLog: 1, interrupt: 1, restore: 2,
  restart: 1, timer: 5, take: 1, render: 1, open: 2, handOver: 1, reload: 1, close: 0.2, denyRequest: 0.1, denyLoad: 0.1, deny: 0.1,
};

const KINDS = Object.entries(WEIGHTS).flatMap(([kind, weight]) => Array(weight * 10).fill(kind));

/** Steps as numbers, which are quick to make. */
const steps = fc.array(fc.nat({ max: KINDS.length * 6 - 1 }), { minLength: 10, maxLength: 40 });

simulate();

/** Takes the steps in a new world, and lets it come to rest. */
async function run(world, numbers) {
  world.open();
  for (const number of numbers) {
    world.step(KINDS[number % KINDS.length], Math.floor(number / KINDS.length));
    await world.turn();
  }
  await world.rest(numbers);
}

function holds(makeWorld, numRuns, parameters) {
  const property = fc.asyncProperty(steps, (numbers) => run(makeWorld(), numbers));
  return fc.assert(property, { numRuns, ...parameters });
}

/** A world whose pages share one connection, as the hooks below a provider do. */
function sharedWorld(share = shareConnection) {
  const world = new World(joinState);
  const shared = share('acme', () => ({ url: 'http://broker.test/api', connect: world.connect }));
  world.joining = { connect: shared.join, fetchPosition: shared.position };
  return world;
}

test('interleavings lose no event and apply none twice', async () => {
  await holds(() => new World(joinState), RUNS);
});

test('pages that share a connection lose no event and apply none twice', async () => {
  await holds(() => sharedWorld(), RUNS / 4);
});

/** A rule, the module that has it, and edits of its built file that break the rule. */
const BROKEN = [
  ['position is taken before the load', 'join.js', [
    [/if \(!connection\)\s+start\(position\);/, ''],
    ['let next = {', 'if (!connection) start(await ask({ ...rest, signal })); let next = {'],
  ]],
  ['reset begins a load', 'join.js', [['onReset: () => void reload()', 'onReset: () => undefined']]],
  ['reset outdates the load under way', 'join.js', [
    ['onReset: () => void reload()', 'onReset: () => loading || reload()'],
  ]],
  ['outdated load is dropped', 'join.js', [
    [/(await load\(\{ position, signal \}\);)\s+if \(signal.aborted\)\s+return;/, '$1'],
  ]],
  ['events during a load wait', 'join.js', [['waiting.push([event, id])', '0']]],
  ['events that waited are applied', 'join.js', [['of waiting)', 'of [])']]],
  ['event that waited is applied once', 'join.js', [['of waiting)', 'of [...waiting, ...waiting])']]],
  ['failed load is tried again', 'join.js', [["fail('load', reason);", 'return;']]],
  ['state without a position is loaded again', 'join.js', [
    [/if \(position\)\s+return;/, 'return;'],
  ]],
  ['join saves the place behind its last event', 'join.js', [['position: id || position', 'position']]],
  ['closed join ends its load', 'join.js', [['loading?.abort();', '']]],
  ['late page is at the place of the connection', 'react/shared-connection.js', [
    ['place !== position', 'false'],
  ]],
  ['connection with a page keeps its place', 'react/shared-connection.js', [
    ['else if (!place)', 'else if (place !== position)'],
  ]],
  ['connection closes after the last page', 'react/shared-connection.js', [['members.delete(member);', '']]],
];

for (const [rule, file, edits] of BROKEN) {
  test(`model finds a break of the rule: ${rule}`, async () => {
    const url = new URL(`../dist/${file}`, import.meta.url);
    let source = readFileSync(url, 'utf8').replaceAll(/'(\.[^']+\.js)'/g, (_, path) => `'${new URL(path, url)}'`);
    for (const [from, to] of edits) {
      const edited = source.replace(from, to);
      assert.notEqual(edited, source, `no ${from}`);
      source = edited;
    }
    const broken = await import(`data:text/javascript,${encodeURIComponent(source)}`);
    const { joinState: join, shareConnection: share } = broken;
    const world = () => (join ? new World(join) : sharedWorld(share));
    // Without a search for a shorter example.
    await assert.rejects(holds(world, RUNS, { endOnFailure: true }), /Property failed/);
  });
}
