// Tabs that end, freeze or lose messages while they share a stream.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NumberedPublisher } from './support/records.mjs';
import { TABS_DEADLINE_MS, Tabs } from './support/tabs.mjs';
import { timedTest } from './support/timed.mjs';
import { eventually } from './support/wait.mjs';

/** A busy machine needs a second or two. Without another leader the deadline passes. */
const LEADS_WITHIN_MS = 10_000;

function hasPublished(publisher, count) {
  return eventually(`${count} events are published`, () => publisher.count > count, TABS_DEADLINE_MS);
}

test('fifty tabs share one stream and survive the end of a leader', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  for (let tab = 0; tab < 5; tab += 1) await tabs.open({ frames: 10 });
  await tabs.reach('live');
  await tabs.hasStreams(1);
  const publisher = new NumberedPublisher(t, broker, { pauseMs: 5 });
  await hasPublished(publisher, 20);

  const killedAt = performance.now();
  await tabs.kill(await tabs.leader());
  await tabs.leader();
  const killed = performance.now() - killedAt;
  await hasPublished(publisher, publisher.count + 20);

  const frozen = await tabs.leader();
  await tabs.block(frozen);
  const frozenAt = performance.now();
  await tabs.leader(tabs.others(frozen));
  const missed = performance.now() - frozenAt;
  for (const time of [killed, missed]) assert.ok(time < LEADS_WITHIN_MS, `${time} ms`);
  await hasPublished(publisher, publisher.count + 20);
  tabs.page.release();
  const count = await publisher.stop();
  await tabs.have(count);
  await tabs.reach('live');
  await tabs.hasStreams(1);
});

timedTest('frozen leader is replaced within 250 ms of its missed beat', async (t) => {
  const tabs = await Tabs.prepare(t);
  const frozen = await tabs.open();
  const other = await tabs.open();
  await tabs.reach('live');
  assert.equal(await tabs.leader(), frozen);
  // The requests and terms that pass between the tabs, with their times.
  await tabs.run(
    other,
    `window.passed = [];
    const name = (await navigator.locks.query()).held[0].name;
    const send = BroadcastChannel.prototype.postMessage;
    BroadcastChannel.prototype.postMessage = function (data) {
      passed.push({ at: performance.now(), asks: data === 'ping', leads: !!data.term });
      return send.call(this, data);
    };
    new BroadcastChannel(name).addEventListener('message', ({ data }) => {
      passed.push({ at: performance.now(), beats: !!data.term });
    });`,
  );
  await tabs.until(other, 'passed.some(({ beats }) => beats)');
  await tabs.block(frozen);
  await tabs.until(other, 'pages().some((page) => leads(page))');
  const passed = await tabs.value(other, 'passed');
  const led = passed.findIndex(({ leads }) => leads);
  const beat = passed.slice(0, led).findLastIndex(({ beats }) => beats);
  const asked = passed.find(({ asks }, index) => index > beat && asks);
  const delay = passed[led].at - (asked.at + 1_000);
  assert.ok(delay >= 0 && delay < 250, `${delay} ms`);
});

test('leaders that leave one after another cost no event', async (t) => {
  const tabs = await Tabs.prepare(t);
  const name = await tabs.open({ frames: 12 });
  await tabs.reach('live');
  const publisher = new NumberedPublisher(t, tabs.broker, { pauseMs: 1 });
  for (let left = 12; left > 2; left -= 1) {
    await tabs.leader();
    await tabs.run(name, `pages().find(leads).frameElement.remove()`);
    await tabs.until(name, `pages().length === ${left - 1}`);
  }
  await tabs.leader();
  const count = await publisher.stop();
  await tabs.have(count);
  await tabs.hasStreams(1);
});

test('tab that lost an event of the leader catches up', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  await tabs.open();
  const second = await tabs.open();
  await tabs.reach('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1);
  await tabs.run(second, 'losses.next = 1');
  await broker.publish('acme', { type: 'NUMBER', n: 2 });
  await tabs.until(second, 'losses.sofar === 1');
  await broker.publish('acme', { type: 'NUMBER', n: 3 });
  await tabs.have(3);
  await broker.publish('acme', { type: 'NUMBER', n: 4 });
  await tabs.have(4);
  await tabs.hasStreams(1);
});

test('page that the browser freezes gives its place up and resumes', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker, browser } = tabs;
  const frozen = await tabs.open();
  const other = await tabs.open();
  await tabs.reach('live');
  await browser.goTo(frozen);
  await browser.devTools('Page.enable');
  await browser.devTools('Page.setWebLifecycleState', { state: 'frozen' });
  await tabs.leader([other]);
  for (const n of [1, 2]) await broker.publish('acme', { type: 'NUMBER', n });
  await tabs.have(2, [other]);
  await browser.goTo(frozen);
  await browser.devTools('Page.setWebLifecycleState', { state: 'active' });
  await tabs.have(2);
  await tabs.reach('live');
  await tabs.hasStreams(1);
});

test('cached page leaves and joins again', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker, browser } = tabs;
  const cached = await tabs.open();
  const other = await tabs.open();
  await tabs.reach('live');
  await browser.goTo(cached);
  await browser.open('about:blank');
  await tabs.leader([other]);
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1, [other]);
  await eventually('the page is shown again', async () => {
    await tabs.run(cached, "if (location.href === 'about:blank') history.back()");
    return (await tabs.value(cached, 'window.seen?.shown.at(-1) ?? null')) === true;
  });
  await tabs.have(1);
  await tabs.reach('live');
  await tabs.hasStreams(1);
});

test('reset and outage reach all tabs', async (t) => {
  // A broker without a file loses its log.
  const tabs = await Tabs.prepare(t, { 'embedded.path': '' });
  const { broker } = tabs;
  await tabs.open();
  await tabs.open();
  await tabs.reach('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1);
  await broker.kill();
  await tabs.reach('away');
  await broker.restart();
  await tabs.reach('live');
  for (const name of tabs.names) await tabs.until(name, 'seen.resets.length > 0');
});
