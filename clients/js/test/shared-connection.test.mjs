// The connection that the hooks of React share, against a real broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connect } from '../dist/index.js';
import { shareConnection } from '../dist/react/shared-connection.js';
import { Broker } from './support/broker.mjs';
import { eventually } from './support/wait.mjs';

test('member that another one removes gets no further event', async (t) => {
  const broker = await Broker.start(t);
  const shared = shareConnection('acme', () => ({ url: broker.url, connect }));
  const got = { first: [], second: [] };
  const first = shared.join({
    onEvent({ n }) {
      got.first.push(n);
      if (n === 2) second.close();
    },
  });
  const second = shared.join({ onEvent: ({ n }) => got.second.push(n) });
  t.after(() => first.close());
  await eventually('the connection is live', () => shared.current().status === 'live');
  for (const n of [1, 2, 3]) await broker.publish('acme', { type: 'NUMBER', n });
  await eventually('the first member has all events', () => got.first.length === 3);
  assert.deepEqual(got.second, [1]);
});
