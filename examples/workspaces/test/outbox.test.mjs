// The app dies between a commit and its event: the event is neither lost nor doubled.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BusProxy } from './support/bus-proxy.mjs';
import { logOf } from './support/log.mjs';
import { Site } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';
import { eventually } from './support/wait.mjs';

const CRASHES = 50;

test('kill -9 between commit and event loses and doubles none', async (t) => {
  const site = await Site.start(t);
  const proxy = await BusProxy.start(t, site.broker.embedded);
  const ada = await UserBrowser.signedIn(t, site, 'ada', '/workspaces/acme/design');
  await ada.isLive();
  await ada.run(`
    window.seen = [];
    const heading = document.querySelector('.channel h2');
    new MutationObserver(() => seen.push(heading.innerText)).observe(heading, {
      childList: true, characterData: true, subtree: true,
    });
  `);
  const session = await site.signIn('ada');
  const published = async () => (await logOf(site)).map(({ name }) => name);
  const throughProxy = { REDIS_URL: `redis://127.0.0.1:${proxy.port}` };
  const names = [];
  await site.app.kill();
  for (let round = 0; round < CRASHES; round += 1) {
    await site.app.start(throughProxy);
    await eventually('the new app has published what the last one left', () => site.outbox().length === 0);
    assert.deepEqual(await published(), names);

    // In even rounds the bus gets nothing. In odd rounds it publishes, and the app does not know.
    const isPublished = round % 2 === 1;
    proxy.holds = isPublished ? 'replies' : 'requests';
    const name = `crash ${round}`;
    const response = session.rename('design', name).catch(() => undefined);
    await eventually(`the change to ${name} is committed`, () => site.outbox().length === 1);
    names.push(name);
    if (isPublished) await eventually(`${name} is published`, async () => (await published()).length === names.length);
    await site.app.kill();
    await response;
    assert.equal(site.outbox().length, 1);
    assert.deepEqual(await published(), isPublished ? names : names.slice(0, -1));
    proxy.holds = undefined;
  }
  await site.app.start();
  await eventually('the outbox is empty', () => site.outbox().length === 0);
  assert.deepEqual(await published(), names);

  await ada.shows(names.at(-1), '.channel h2');
  // React may join quick changes, so a page may skip a name. It shows none twice.
  const seen = await ada.run('return seen');
  assert.deepEqual(seen, names.filter((name) => seen.includes(name)));
});
