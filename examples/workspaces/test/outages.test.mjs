// Broker and network fail while users work: pages converge, and the log misses no event.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Site } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';
import { eventually } from './support/wait.mjs';
import { logOf } from './support/log.mjs';

const numbered = (prefix, count) => Array.from({ length: count }, (_, index) => `${prefix} ${index}`);

/** The names that the events in the log of the broker have given a channel. */
async function namesInLog(site) {
  const events = await logOf(site);
  return events.filter(({ type }) => type === 'CHANNEL_UPDATED').map(({ name }) => name);
}

test('outages', async (t) => {
  const site = await Site.start(t);
  const tabs = await Promise.all(['ada', 'ben'].map((name) => UserBrowser.signedIn(t, site, name)));
  const [ada, ben] = tabs;
  await Promise.all(tabs.map((tab) => tab.isLive()));
  // A reload would also show the newest state.
  for (const tab of tabs) await tab.run('window.isSamePage = true');

  await t.test('kill -9 of the broker and a restart lose nothing', async () => {
    const names = numbered('crash', 20);
    for (const [round, name] of names.entries()) {
      // Changes go on without a broker: the app needs it for no change.
      if (round === 5) await site.broker.kill();
      if (round === 15) await site.broker.restart();
      await ada.rename('design', name);
    }
    await Promise.all(tabs.map((tab) => tab.hasChannel(names.at(-1))));
    await eventually('the outbox is empty', () => site.outbox().length === 0);
    assert.deepEqual(await namesInLog(site), names);
    await Promise.all(tabs.map((tab) => tab.isLive()));
    for (const tab of tabs) assert.equal(await tab.run('return window.isSamePage'), true);
  });

  await t.test('page shows that the broker is away, and is live again', async () => {
    await site.broker.kill();
    for (const tab of tabs) await eventually('the page is away', async () => (await tab.status()) === 'away');
    await ada.shows('Reconnecting…', '.status');
    await site.broker.restart();
    await Promise.all(tabs.map((tab) => tab.isLive()));
  });

  await t.test('laptop sleeps over a restart of the broker and wakes', async () => {
    await ben.run(`
      let last = Date.now();
      window.longestPause = 0;
      setInterval(() => {
        longestPause = Math.max(longestPause, Date.now() - last);
        last = Date.now();
      }, 50);
    `);
    await ben.devTools('Page.setWebLifecycleState', { state: 'frozen' });
    const begin = Date.now();
    await ada.rename('design', 'during the sleep');
    await ada.hasChannel('during the sleep');
    await site.broker.kill();
    await ada.rename('releases', 'without a broker');
    await site.broker.restart();
    await Promise.all([ada.hasChannel('without a broker'), ada.isLive()]);
    const slept = Date.now() - begin;
    await ben.devTools('Page.setWebLifecycleState', { state: 'active' });
    await ben.hasChannel('during the sleep');
    await ben.hasChannel('without a broker');
    await ben.isLive();
    const pause = await ben.run('return longestPause');
    assert.ok(pause >= slept - 500, `the page was asleep for ${pause} ms of ${slept} ms`);
    await ada.rename('design', 'after the sleep');
    await ben.hasChannel('after the sleep');
    assert.equal(await ben.run('return window.isSamePage'), true);
  });
});
