// Tabs of a real browser, and a broker that they may use.
import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './broker.mjs';
import { Browser, servePage } from './browser.mjs';
import { numbersTo } from './records.mjs';
import { eventually } from './wait.mjs';

/** Fifty pages need more time than one, on a busy machine. */
export const TABS_DEADLINE_MS = 120_000;

// One browser for all tests of a file. Each test has a server, so its pages have an own origin.
const browser = Browser.start({ after });
browser.catch(() => undefined);

export class Tabs {
  names = [];

  static async prepare(t, settings = {}, pageOptions = {}) {
    const tabs = new Tabs();
    tabs.page = await servePage(t, pageOptions);
    const cors = { 'cors.origins': tabs.page.origin };
    tabs.broker = await Broker.start(t, { ...cors, ...settings });
    tabs.browser = await browser;
    await tabs.browser.closeTabs();
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
    return eventually(expression, () => this.value(name, expression), TABS_DEADLINE_MS);
  }

  async reach(status, names = this.names) {
    for (const name of names) {
      await this.until(name, `pages().every((page) => page.connection.status === '${status}')`);
    }
  }

  /** Waits until each page of the tabs has the numbers from 1 to `count`, once and in order. */
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
    }, TABS_DEADLINE_MS);
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
