// Only members get the events of a workspace, for as long as they are signed in.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Site } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';
import { eventually } from './support/wait.mjs';

/** The text of the broker for a client that the app denies. */
const DENIED = 'the app does not allow this client to use the workspace';
/** Its text for a client without a session. */
const SIGNED_OUT = 'the app does not know the credentials of this request: sign in there, then try again';

/** Asks the broker as a session does, without a stream. */
async function access(site, session) {
  const response = await fetch(`${site.broker.url}/workspaces/acme/access`, {
    headers: { cookie: session.cookie },
  });
  return { status: response.status, ...(response.status === 204 ? {} : await response.json()) };
}

test('access', async (t) => {
  const site = await Site.start(t);

  await t.test('outsider is denied and sees why', async (t) => {
    const eve = await UserBrowser.signedIn(t, site, 'eve');
    await eve.shows('You are signed in as eve, who is not a member of Acme.', '[role=alert]');
    assert.deepEqual(await eve.channels(), []);
    // The broker denies the stream too, and says why.
    const session = await site.signIn('eve');
    const denial = await access(site, session);
    assert.equal(denial.status, 403);
    assert.equal(denial.detail, DENIED);
    assert.equal((await access(site, await site.signIn('ada'))).status, 204);
    assert.equal((await session.rename('design', 'mine')).status, 403);
  });

  await t.test('removed member loses the stream and sees why', async (t) => {
    const ben = await UserBrowser.signedIn(t, site, 'ben');
    await ben.isLive();
    site.query((database) => database.prepare("delete from members where user_id = 'ben'").run());
    const command = { disconnect: { user: 'ben', workspace: 'acme' } };
    await site.broker.publishOnBus('tidings:control', JSON.stringify(command));
    await eventually('the page is denied', async () => (await ben.status()) === 'denied');
    assert.equal(await ben.text('.denial'), DENIED);
    await eventually('the stream has ended', async () => (await site.broker.streams()) === 0);
  });

  await t.test('logout ends the streams of its session alone', async (t) => {
    const here = await UserBrowser.signedIn(t, site, 'ada');
    const second = await here.browser.newTab();
    await second.open(`${site.origin}/workspaces/acme/design`);
    const elsewhere = await UserBrowser.signedIn(t, site, 'ada');
    await Promise.all([here, second, elsewhere].map((tab) => tab.isLive()));
    const cookie = await here.run('return (await cookieStore.getAll()).map(({ name }) => name)');
    assert.ok(!cookie.some((name) => name.includes('session')), 'no script reads the cookie of the session');
    const old = await site.signIn('ada');

    await here.click('footer button');
    await here.until('the login page is open', 'location.pathname === "/login"');
    await eventually('the other tab is denied', async () => (await second.status()) === 'denied');
    assert.equal(await second.text('.denial'), SIGNED_OUT);
    // The other sessions of the same user go on.
    assert.equal((await access(site, old)).status, 204);
    assert.equal((await old.rename('design', 'after the logout')).status, 200);
    await elsewhere.hasChannel('after the logout');
    assert.ok(!(await second.channels()).includes('after the logout'));
    await eventually('one stream is open', async () => (await site.broker.streams()) === 1);
  });

  await t.test('cookie of an ended session counts no more', async () => {
    const session = await site.signIn('ada');
    const stolen = session.cookie;
    const { csrfToken } = await (await session.fetch('/api/auth/csrf')).json();
    const body = new URLSearchParams({ csrfToken, json: 'true' });
    await session.fetch('/api/auth/signout', { method: 'POST', body });
    const denial = await access(site, { cookie: stolen });
    assert.deepEqual([denial.status, denial.detail], [401, SIGNED_OUT]);
  });
});
