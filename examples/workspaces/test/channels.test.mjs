// Two users in two browsers: changes of one reach the other.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Site } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';
import { eventually } from './support/wait.mjs';

const RENAMES = 100;

test('changes of channels', async (t) => {
  const site = await Site.start(t);
  const [ada, ben] = await Promise.all(['ada', 'ben'].map((name) => UserBrowser.signedIn(t, site, name)));
  const both = [ada, ben];
  await Promise.all(both.map((tab) => tab.isLive()));

  await t.test('rename reaches a second user', async (t) => {
    await Promise.all(both.map((tab) => tab.openChannel('design')));

    await ada.submit('.channel form', { name: 'sketches' });
    await ben.shows('sketches', '.channel h2');
    await Promise.all(both.map((tab) => tab.hasChannel('sketches')));

    // From the request of one page to the text in the other.
    await ben.run(`
      window.seenAt = {};
      const heading = document.querySelector('.channel h2');
      const note = () => (seenAt[heading.innerText] ??= Date.now());
      new MutationObserver(note).observe(heading, { childList: true, characterData: true, subtree: true });
    `);
    const times = [];
    for (let round = 0; round < RENAMES; round += 1) {
      const name = `round ${round}`;
      const begin = await ada.rename('design', name);
      const end = await eventually(`the second page shows ${name}`, () => ben.run('return seenAt[arguments[0]]', name));
      times.push(end - begin);
    }
    times.sort((a, b) => a - b);
    const p95 = times[Math.ceil(0.95 * RENAMES) - 1];
    t.diagnostic(`${RENAMES} renames: median ${times[RENAMES / 2]} ms, p95 ${p95} ms, slowest ${times.at(-1)} ms`);
    // The bound is far above that, for a busy machine. The line above has the measurement.
    assert.ok(p95 < 1000, `p95 is ${p95} ms`);
  });

  await t.test('new channel reaches a second user', async () => {
    await ada.submit('.new-channel', { name: 'plans' });
    await Promise.all(both.map((tab) => tab.hasChannel('plans')));
    assert.deepEqual(await ben.channels(), ['general', 'plans', 'releases', `round ${RENAMES - 1}`]);
  });

  await t.test('deleted channel leads its readers to the general channel', async () => {
    await Promise.all(both.map((tab) => tab.openChannel('releases')));
    await ada.click('.danger');
    for (const tab of both) {
      await tab.until('the general channel is open', 'location.pathname === "/workspaces/acme/general"');
      await tab.shows('general', '.channel h2');
      assert.deepEqual(await tab.channels(), ['general', 'plans', `round ${RENAMES - 1}`]);
    }
  });

  await t.test('every event matches its schema', async () => {
    const metrics = await (await fetch(`${site.broker.admin}/metrics`)).text();
    const checks = [...metrics.matchAll(/^tidings_schema_checks_total\{result="([a-z-]+)"\} (\d+)/gm)];
    const counts = Object.fromEntries(checks.map(([, result, count]) => [result, Number(count)]));
    // The first rename, the others, a new channel and a deleted one.
    assert.equal(counts.valid, 1 + RENAMES + 2);
    for (const fault of ['mismatch', 'no-schema', 'unchecked']) assert.ok(!counts[fault], `${fault}: ${counts[fault]}`);
  });

  await t.test('general channel stays', async () => {
    const session = await site.signIn('ada');
    const general = await session.fetch('/api/workspaces/acme/channels/general', { method: 'DELETE' });
    assert.equal(general.status, 404);
  });
});
