// A deploy with an incompatible change of an event, while tabs of the old version are open.
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { logOf } from './support/log.mjs';
import { buildNextVersion } from './support/next-version.mjs';
import { Site } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';
import { eventually } from './support/wait.mjs';

test('tab of the old version and one of the new version in a browser', async (t) => {
  const nextVersion = buildNextVersion();
  const site = await Site.start(t);
  const old = await UserBrowser.signedIn(t, site, 'ada');
  await old.isLive();
  await old.run('window.isSamePage = true');
  const session = await site.signIn('ben');
  await session.rename('design', 'before the deploy');
  await old.hasChannel('before the deploy');

  // The deploy: the schemas of the broker first, then the app that publishes both types.
  cpSync(join(nextVersion, 'events'), site.schemas, { recursive: true });
  await site.broker.restart();
  await site.app.kill();
  site.app.folder = nextVersion;
  await site.app.start();
  const renewed = await old.browser.newTab();
  await renewed.open(`${site.origin}/workspaces/acme`);
  await Promise.all([old, renewed].map((tab) => tab.isLive()));
  // Their streams have different types, so they do not share one.
  await eventually('two streams are open', async () => (await site.broker.streams()) === 2);

  const names = Array.from({ length: 10 }, (_, round) => `after the deploy ${round}`);
  for (const name of names) {
    assert.equal((await session.rename('design', name)).status, 200);
    for (const tab of [old, renewed]) await tab.hasChannel(name);
  }
  const events = (await logOf(site)).slice(-2 * names.length);
  assert.deepEqual(
    events.map(({ type, name, names }) => [type, name ?? names.new]),
    names.flatMap((name) => [['CHANNEL_UPDATED', name], ['CHANNEL_UPDATED@2', name]]),
  );
  assert.equal(await old.run('return window.isSamePage'), true);

  await old.shows('Please reload.', '.outdated');
  assert.equal(await renewed.text('.outdated'), '');
  await old.run('document.querySelector(".outdated a").click()');
  await old.until('the page is another one', '!window.isSamePage');
  await old.isLive();
  assert.equal(await old.text('.outdated'), '');
  // Both tabs have one version now.
  await eventually('one stream is open', async () => (await site.broker.streams()) === 1);
});
