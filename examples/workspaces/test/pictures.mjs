// Takes the picture of the documents, and one of each page: `node test/pictures.mjs FOLDER`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Site } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';

const folder = process.argv[2] ?? 'data/pictures';
mkdirSync(folder, { recursive: true });

// What a test has: a list of things to do at its end.
const ends = [];
const run = { after: (end) => ends.unshift(end) };

async function shot(tab, { width, height, scheme = 'light', scale = 1 }) {
  await tab.devTools('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile: false });
  await tab.devTools('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  const { data } = await tab.devTools('Page.captureScreenshot', { format: 'png' });
  return data;
}

const save = (name, data) => writeFileSync(join(folder, `${name}.png`), Buffer.from(data, 'base64'));

try {
  const site = await Site.start(run);
  const { first: visitor } = await UserBrowser.start(run);
  await visitor.open(`${site.origin}/login`);
  await visitor.shows('Sign in');
  const [ada, ben, eve] = await Promise.all(
    ['ada', 'ben', 'eve'].map((name) => UserBrowser.signedIn(run, site, name, '/workspaces/acme')),
  );
  await Promise.all([ada, ben].map((tab) => tab.isLive()));
  for (const name of ['support', 'hiring']) {
    await ada.submit('.new-channel', { name });
    await ben.hasChannel(name);
  }
  await Promise.all([ada, ben].map((tab) => tab.openChannel('design')));
  await ada.submit('.channel form', { name: 'design reviews' });
  for (const tab of [ada, ben]) await tab.shows('design reviews', '.channel h2');

  // The two browsers side by side.
  const size = { width: 700, height: 420, scale: 1.5 };
  const pictures = [await shot(ada, size), await shot(ben, size)];
  const windows = pictures.map(
    (data, index) => `<figure><figcaption>${['ada', 'ben'][index]}</figcaption>
      <img src="data:image/png;base64,${data}" width="560" height="336"></figure>`,
  );
  const page = `<!doctype html><style>
    body { display: flex; gap: 24px; margin: 0; padding: 20px; overflow: hidden; background: #e9ecf2; font: 600 13px system-ui }
    figure { margin: 0; overflow: hidden; border-radius: 10px; background: #fff; box-shadow: 0 4px 18px #0003 }
    figcaption { padding: 7px 12px; background: #ced4e0; color: #3c4354 }
    img { display: block }
  </style>${windows.join('')}`;
  await visitor.devTools('Page.navigate', { url: 'about:blank' });
  await visitor.run('document.open(); document.write(arguments[0]); document.close()', page);
  await visitor.until('the pictures are there', '[...document.images].every((image) => image.complete)');
  save('workspaces', await shot(visitor, { width: 1184, height: 410, scale: 1.5 }));

  const wide = { width: 900, height: 560 };
  const narrow = { width: 360, height: 720 };
  for (const scheme of ['light', 'dark']) {
    save(`channel-${scheme}`, await shot(ada, { ...wide, scheme }));
    save(`channel-narrow-${scheme}`, await shot(ada, { ...narrow, scheme }));
    save(`outsider-${scheme}`, await shot(eve, { ...narrow, scheme }));
  }
  await visitor.open(`${site.origin}/login`);
  for (const scheme of ['light', 'dark']) save(`login-${scheme}`, await shot(visitor, { ...narrow, scheme }));
  await eve.open(site.origin);
  save('home-light', await shot(eve, { ...wide, scheme: 'light' }));
  await ben.run('return document.querySelector("nav").scrollWidth');
  await site.app.kill();
  await site.broker.kill();
  await ben.shows('Reconnecting…', '.status');
  save('away-light', await shot(ben, { ...wide }));
} finally {
  for (const end of ends) await end();
}
