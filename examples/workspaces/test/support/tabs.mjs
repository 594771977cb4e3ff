// The pages of the example in a real browser, one object a tab.
import { Browser } from '../../../../clients/js/test/support/browser.mjs';
import { eventually } from './wait.mjs';

/** A browser of one user. Its tabs share cookies and storage. */
export class UserBrowser {
  #browser;
  #queue = Promise.resolve();

  static async start(test, options) {
    const browser = new UserBrowser();
    browser.#browser = await Browser.start(test, options);
    browser.first = new Tab(browser, await browser.#browser.webDriver('window'));
    return browser;
  }

  /** Starts a browser, signs a user in and opens a page of the app. Returns its tab. */
  static async signedIn(test, site, name, path = '/workspaces/acme', options = {}) {
    const { first } = await UserBrowser.start(test, options);
    await first.signIn(site.origin, name, path);
    return first;
  }

  /** Opens another tab of the browser, or a window. */
  async newTab(type = 'tab') {
    const { handle } = await this.exclusively((browser) => browser.webDriver('window/new', { type }));
    return new Tab(this, handle);
  }

  /** Runs a function in turn: the driver has one current tab. */
  exclusively(run) {
    const turn = this.#queue.then(() => run(this.#browser));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

export class Tab {
  constructor(browser, handle) {
    this.browser = browser;
    this.handle = handle;
  }

  #inTab(run) {
    return this.browser.exclusively(async (browser) => {
      await browser.webDriver('window', { handle: this.handle });
      return run(browser);
    });
  }

  open(url) {
    return this.#inTab((browser) => browser.open(url));
  }

  close() {
    return this.#inTab((browser) => browser.webDriver('window', null, 'DELETE'));
  }

  /** Runs the body of a function in the page and returns its result. */
  run(script, ...args) {
    return this.#inTab((browser) => browser.run(script, ...args));
  }

  devTools(method, parameters) {
    return this.#inTab((browser) => browser.devTools(method, parameters));
  }

  /** Waits until an expression of the page is true. */
  until(what, expression, ...args) {
    return eventually(what, () => this.run(`return !!(${expression})`, ...args));
  }

  /** Fills a form and submits it, once React controls it. */
  async submit(selector, values) {
    const isReady = `(() => {
      const form = document.querySelector(arguments[0]);
      return form && Object.keys(form).some((key) => key.startsWith('__reactProps'));
    })()`;
    await this.until(`the form ${selector} works`, isReady, selector);
    await this.run(
      `const form = document.querySelector(arguments[0]);
       for (const [name, value] of Object.entries(arguments[1])) form.elements[name].value = value;
       form.requestSubmit();`,
      selector,
      values,
    );
  }

  async click(selector) {
    const isReady = `(() => {
      const element = document.querySelector(arguments[0]);
      return element && Object.keys(element).some((key) => key.startsWith('__reactProps'));
    })()`;
    await this.until(`${selector} works`, isReady, selector);
    await this.run('document.querySelector(arguments[0]).click()', selector);
  }

  async signIn(origin, name, path) {
    await this.open(`${origin}/login?callbackUrl=${path}`);
    await this.submit('form', { name, password: 'tidings' });
    await this.until(`${name} is signed in`, 'location.pathname.startsWith(arguments[0])', path);
  }

  /** Opens a channel by its link in the sidebar. */
  async openChannel(id) {
    const link = `nav a[href$="/${id}"]`;
    await this.click(link);
    await eventually(`the channel ${id} is open`, async () => {
      return (await this.path()).endsWith(`/${id}`) && (await this.text('.channel h2')) === (await this.text(link));
    });
  }

  /** Renames a channel by a request of the page. Returns the time of its begin. */
  rename(id, name) {
    return this.run(
      `const begin = Date.now();
       const { ok, status } = await fetch('/api/workspaces/acme/channels/' + arguments[0], {
         method: 'PATCH',
         headers: { 'Content-Type': 'application/json' },
         body: JSON.stringify({ name: arguments[1] }),
       });
       if (!ok) throw new Error('status ' + status);
       return begin;`,
      id,
      name,
    );
  }

  text(selector = 'body') {
    return this.run('return document.querySelector(arguments[0])?.innerText ?? ""', selector);
  }

  /** The names of the channels in the sidebar, in their order. */
  channels() {
    return this.run('return [...document.querySelectorAll("nav a")].map((link) => link.innerText)');
  }

  /** The names of the cookies of the page, also of those that no script reads. */
  async cookieNames() {
    return (await this.#inTab((browser) => browser.webDriver('cookie'))).map(({ name }) => name);
  }

  status() {
    return this.run('return document.querySelector(".status")?.dataset.status');
  }

  isLive() {
    return eventually('the page is live', async () => (await this.status()) === 'live');
  }

  shows(text, selector = 'body') {
    return eventually(`the page shows ${text}`, async () => (await this.text(selector)).includes(text));
  }

  hasChannel(name) {
    return eventually(`the page has #${name}`, async () => (await this.channels()).includes(name));
  }

  path() {
    return this.run('return location.pathname');
  }
}
