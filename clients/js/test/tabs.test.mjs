// One stream for all tabs, in a real browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { Browser, servePage } from './support/browser.mjs';
import { NumberedPublisher, numbersTo } from './support/records.mjs';
import { startSchemasProxy } from './support/schemas-proxy.mjs';
import { timedTest } from './support/timed.mjs';
import { JWT, bearer, token } from './support/token.mjs';
import { eventually } from './support/wait.mjs';

/** Tabs, and a broker that they may use. */
class Tabs {
  names = [];

  static async prepare(t, settings = {}, pageOptions = {}) {
    const tabs = new Tabs();
    tabs.page = await servePage(t, pageOptions);
    const cors = { 'cors.origins': tabs.page.origin };
    const browser = Browser.start(t);
    tabs.broker = await Broker.start(t, { ...cors, ...settings });
    tabs.browser = await browser;
    return tabs;
  }

  /** Opens a tab with shared connections. Returns its name. */
  async open(options = {}) {
    const name = this.names.length ? await this.browser.newTab() : await this.browser.tab();
    this.names.push(name);
    await this.browser.open(this.page.address({ url: this.broker.url, user: 'ann', ...options }));
    await this.until(name, 'pages().length > 0 && pages().every((page) => page.connection)');
    return name;
  }

  async run(name, script) {
    await this.browser.goTo(name);
    return this.browser.run(script);
  }

  value(name, expression) {
    return this.run(name, `return ${expression}`);
  }

  until(name, expression) {
    return eventually(expression, () => this.value(name, expression));
  }

  async reach(status, names = this.names) {
    for (const name of names) {
      await this.until(name, `pages().every((page) => page.connection.status === '${status}')`);
    }
  }

  /** Waits until every page of the tabs has the numbers from 1 to `count`, each once and in order. */
  async have(count, names = this.names) {
    for (const name of names) {
      await this.until(name, `pages().every((page) => page.seen.numbers.length >= ${count})`);
      for (const numbers of await this.value(name, 'pages().map((page) => page.seen.numbers)')) {
        assert.deepEqual(numbers, numbersTo(count));
      }
      assert.deepEqual(await this.value(name, 'pages().flatMap((page) => page.seen.resets)'), []);
    }
  }

  async hasStreams(count) {
    await eventually(`${count} streams are open`, async () => (await this.broker.streams()) === count);
  }

  /** The name of the tab whose page has the stream. */
  leader(names = this.names) {
    return eventually('a tab leads', async () => {
      for (const name of names) {
        if (await this.value(name, 'pages().some((page) => leads(page))')) return name;
      }
    });
  }

  others(name) {
    return this.names.filter((other) => other !== name);
  }

  /** Ends the process of a tab. */
  async kill(name) {
    await this.browser.goTo(name);
    this.names = this.others(name);
    await this.browser.devTools('Page.crash').catch(() => undefined);
  }

  /** Stops a tab until `page.release()`. */
  async block(name) {
    await this.run(name, 'block()');
    await eventually('the tab is blocked', () => this.page.held.length > 0);
  }
}

test('fifty tabs share one stream and survive the end of a leader', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  for (let tab = 0; tab < 5; tab += 1) await tabs.open({ frames: 10 });
  await tabs.reach('live');
  await tabs.hasStreams(1);
  const publisher = new NumberedPublisher(t, broker, { pauseMs: 5 });
  await eventually('some events are published', () => publisher.count > 20);

  await tabs.kill(await tabs.leader());
  const killed = publisher.count;
  await tabs.leader();
  await eventually('more events are published', () => publisher.count > killed + 20);

  const frozen = await tabs.leader();
  await tabs.block(frozen);
  await tabs.leader(tabs.others(frozen));
  const blocked = publisher.count;
  await eventually('more events are published', () => publisher.count > blocked + 20);
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

test('tab that joins catches up from its own position', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  const first = await tabs.open();
  await tabs.reach('live');
  const ids = [];
  for (let n = 1; n <= 5; n += 1) ids.push(await broker.publish('acme', { type: 'NUMBER', n }));
  await tabs.have(5);
  const second = await tabs.open({ position: ids[1] });
  await tabs.until(second, 'seen.numbers.length === 3');
  const third = await tabs.open();
  await tabs.reach('live');
  await tabs.hasStreams(1);
  assert.equal(await tabs.leader(), first);
  await broker.publish('acme', { type: 'NUMBER', n: 6 });
  await tabs.have(6, [first]);
  await tabs.until(third, 'seen.numbers.length > 0');
  await tabs.until(second, 'seen.numbers.length > 3');
  assert.deepEqual(await tabs.value(second, 'seen.numbers'), [3, 4, 5, 6]);
  assert.deepEqual(await tabs.value(third, 'seen.numbers'), [6]);
  for (const name of tabs.names) {
    assert.equal(await tabs.value(name, 'connection.position'), await tabs.value(first, 'connection.position'));
  }
});

test('tab with a filter that joins during publications misses nothing', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  const position = await broker.publish('acme', { type: 'NUMBER', n: 0 });
  const options = { types: ['NUMBER'], position };
  await tabs.open(options);
  const publisher = new NumberedPublisher(t, broker);
  await eventually('some events are published', () => publisher.count > 10);
  await broker.publish('acme', { type: 'OTHER' });
  await tabs.open(options);
  await tabs.open(options);
  await broker.publish('acme', { type: 'OTHER' });
  const count = await publisher.stop();
  await broker.publish('acme', { type: 'OTHER' });
  await tabs.have(count);
  await tabs.hasStreams(1);
});

test('tab that lost messages of the leader catches up', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  await tabs.open();
  const second = await tabs.open();
  await tabs.reach('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1);
  await tabs.run(second, 'window.losesMessages = true');
  for (const n of [2, 3]) await broker.publish('acme', { type: 'NUMBER', n });
  await tabs.have(3, tabs.others(second));
  assert.deepEqual(await tabs.value(second, 'seen.numbers'), [1]);
  await tabs.run(second, 'window.losesMessages = false');
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

test('users never share, and a logout ends all tabs of one', async (t) => {
  const tabs = await Tabs.prepare(t);
  const ann = [await tabs.open(), await tabs.open()];
  const bob = [await tabs.open({ user: 'bob' }), await tabs.open({ user: 'bob' })];
  await tabs.reach('live');
  await tabs.hasStreams(2);
  await tabs.run(bob[1], "endShared('ann')");
  await tabs.reach('closed', ann);
  await tabs.hasStreams(1);
  await tabs.broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1, bob);
  await tabs.have(0, ann);
});

test('denial reaches all tabs with its reason', async (t) => {
  const tabs = await Tabs.prepare(t, JWT);
  await tabs.open({ token: token() });
  await tabs.open({ token: token() });
  await tabs.reach('live');
  const command = JSON.stringify({ disconnect: { user: 'ann', for: 60 } });
  await tabs.broker.publishOnBus('tidings:control', command);
  await tabs.reach('denied');
  for (const name of tabs.names) {
    assert.equal((await tabs.value(name, 'seen.statuses')).at(-1), 'denied: disconnected');
    assert.equal(await tabs.value(name, 'connection.error.status'), 403);
  }
  await tabs.hasStreams(0);
});

test('leader renews the token of all tabs', async (t) => {
  let calls = 0;
  const getToken = () => token({ seconds: (calls += 1) === 1 ? 9 : 600 });
  const tabs = await Tabs.prepare(t, JWT, { getToken });
  for (let tab = 0; tab < 3; tab += 1) await tabs.open({ tokens: true });
  await tabs.reach('live');
  const publisher = new NumberedPublisher(t, tabs.broker, { headers: bearer(token()) });
  await eventually('the token is renewed', () => calls >= 2);
  await tabs.hasStreams(1);
  const count = await publisher.stop();
  await tabs.have(count);
  assert.ok(calls <= 3, `${calls} tokens for three tabs`);
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

test('without Web Locks each tab has its own stream', async (t) => {
  const tabs = await Tabs.prepare(t);
  await tabs.open({ without: 'locks' });
  await tabs.open({ without: 'locks' });
  await tabs.reach('live');
  await tabs.hasStreams(2);
});

test('only outdated tabs learn the version of the schemas', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { url } = await startSchemasProxy(t, tabs.broker, 'new');
  const versions = { new: [], old: ['new'], older: ['new'] };
  for (const schemas of Object.keys(versions)) await tabs.open({ url, schemas });
  await tabs.reach('live');
  await tabs.hasStreams(1);
  for (const [index, expected] of Object.values(versions).entries()) {
    assert.deepEqual(await tabs.value(tabs.names[index], 'seen.versions'), expected);
  }
});

test('message of an earlier leader is ignored', async (t) => {
  const tabs = await Tabs.prepare(t);
  const earlier = await tabs.open();
  await tabs.open();
  await tabs.reach('live');
  await tabs.run(
    earlier,
    `const item = { payload: '{"type":"NUMBER","n":99}', id: '1-0' };
    const message = { term: 1, count: 1, position: '1-0', status: 'away', item };
    navigator.locks.query().then(({ held }) => new BroadcastChannel(held[0].name).postMessage(message));`,
  );
  await tabs.broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1);
  await tabs.reach('live');
});
