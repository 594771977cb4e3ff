// Twenty tabs of a browser share one stream of the broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Site } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';
import { eventually } from './support/wait.mjs';

const TABS = 20;

test('20 tabs share a stream', async (t) => {
  const site = await Site.start(t);
  const ada = await UserBrowser.signedIn(t, site, 'ada');
  const tabs = [ada];
  while (tabs.length < TABS) {
    const tab = await ada.browser.newTab();
    await tab.open(`${site.origin}/workspaces/acme`);
    tabs.push(tab);
  }
  for (const tab of tabs) await tab.isLive();
  assert.equal(await site.broker.streams(), 1);

  const session = await site.signIn('ben');
  await session.rename('design', 'for all tabs');
  for (const tab of tabs) await tab.hasChannel('for all tabs');
  assert.equal(await site.broker.streams(), 1);

  await t.test('another tab takes the stream over', async () => {
    await ada.close();
    tabs.shift();
    await session.rename('design', 'without the first tab');
    for (const tab of tabs) await tab.hasChannel('without the first tab');
    await eventually('one stream is open', async () => (await site.broker.streams()) === 1);
  });

  await t.test('stream of a frozen tab goes to another one', async () => {
    for (const tab of tabs.slice(0, 10)) await tab.devTools('Page.setWebLifecycleState', { state: 'frozen' });
    await session.rename('design', 'half of them frozen');
    for (const tab of tabs.slice(10)) await tab.hasChannel('half of them frozen');
    for (const tab of tabs.slice(0, 10)) await tab.devTools('Page.setWebLifecycleState', { state: 'active' });
    for (const tab of tabs) await tab.hasChannel('half of them frozen');
    await eventually('one stream is open', async () => (await site.broker.streams()) === 1);
  });

  await t.test('logout in one tab ends it for all', async () => {
    await tabs[0].click('footer button');
    await tabs[0].until('the login page is open', 'location.pathname === "/login"');
    for (const tab of tabs.slice(1)) await eventually('the tab is denied', async () => (await tab.status()) === 'denied');
    await eventually('no stream is open', async () => (await site.broker.streams()) === 0);
  });
});
