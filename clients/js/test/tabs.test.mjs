// One stream for all tabs, in a real browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { Browser, servePage } from './support/browser.mjs';
import { NumberedPublisher, numbersTo } from './support/records.mjs';
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
