// nginx with deploy/nginx-host.conf, as a process at a port of its own.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort } from './site.mjs';
import { eventually } from './wait.mjs';

const CONFIGURATION = new URL('../../../../deploy/nginx-host.conf', import.meta.url);

/** Replaces a part of the file, which has to be there. */
function replaced(text, part, other) {
  if (!text.includes(part)) throw new Error(`nginx-host.conf lacks ${part}`);
  return text.replaceAll(part, other);
}

/** Starts nginx with TLS at a port, in front of an app and of brokers. It ends with the test. */
export async function startNginx(test, port, appPort, brokerPorts) {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-nginx-'));
  const [certificate, key] = ['certificate.pem', 'key.pem'].map((name) => join(directory, name));
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', key, '-out', certificate];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files], {
    stdio: 'ignore',
  });

  let site = readFileSync(CONFIGURATION, 'utf8');
  const servers = brokerPorts.map((brokerPort) => `server 127.0.0.1:${brokerPort};`).join(' ');
  site = replaced(site, 'server 127.0.0.1:8080;', servers);
  site = replaced(site, '127.0.0.1:3000', `127.0.0.1:${appPort}`);
  site = replaced(site, 'listen 80;', `listen 127.0.0.1:${await freePort()};`);
  site = replaced(site, 'listen 443 ssl http2;', `listen 127.0.0.1:${port} ssl http2;`);
  site = replaced(site, '/etc/ssl/certs/app.example.com.pem', certificate);
  site = replaced(site, '/etc/ssl/private/app.example.com.key', key);
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  for (const kind of kinds) mkdirSync(join(directory, kind));
  const main = `
    daemon off;
    worker_processes 1;
    pid ${directory}/pid;
    error_log ${directory}/error.log;
    events {}
    http {
      access_log off;
      ${kinds.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(' ')}
      ${site}
    }`;
  const path = join(directory, 'nginx.conf');
  writeFileSync(path, main);
  const child = spawn('nginx', ['-c', path, '-p', directory], { stdio: ['ignore', 'inherit', 'inherit'] });
  const ended = new Promise((done) => child.once('exit', done));
  const stop = () => child.kill('SIGTERM');
  process.once('exit', stop);
  test.after(async () => {
    stop();
    await ended;
    process.off('exit', stop);
    rmSync(directory, { recursive: true, force: true });
  });
  await eventually('nginx listens', async () => {
    if (child.exitCode !== null) throw new Error(`nginx ended: ${readFileSync(join(directory, 'error.log'))}`);
    const { connect } = await import('node:net');
    return new Promise((done) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => done(true)).once('error', () => done(false));
      socket.once('connect', () => socket.destroy());
    });
  });
}
