import type { ConnectOptions } from './options.js';

/**
 * Returns the address of a resource of a workspace.
 *
 * @throws TypeError if there is no workspace, or `url` is invalid.
 */
export function workspaceUrl(
  { url, workspace }: Pick<ConnectOptions, 'url' | 'workspace'>,
  name: 'events' | 'position',
): URL {
  if (!workspace) throw new TypeError('no workspace');
  const path = `/workspaces/${encodeURIComponent(workspace)}/${name}`;
  return new URL(url.replace(/\/?$/, path), globalThis.location?.href);
}
