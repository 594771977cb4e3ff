// Types of state and stream, as an application uses them. tsc checks this file, nothing runs it.
import { QueryClient } from '@tanstack/react-query';

import { connect, type DeniedError } from 'tidings';
import { fetchPosition, live, type LiveStatus } from 'tidings/live';
import { createInvalidator, useInvalidation } from 'tidings/query';
import { TidingsProvider, useEvents, useLive, useStatus } from 'tidings/react';
import { connectShared } from 'tidings/tabs';

interface ChannelUpdated {
  type: 'CHANNEL_UPDATED';
  channelId: string;
  name: string;
}

interface ChannelDeleted {
  type: 'CHANNEL_DELETED';
  channelId: string;
}

type AppEvent = ChannelUpdated | ChannelDeleted;

type Names = Record<string, string>;

function apply(names: Names, event: AppEvent): Names {
  return event.type === 'CHANNEL_UPDATED' ? { ...names, [event.channelId]: event.name } : names;
}

const load = async () => ({}) as Names;

fetchPosition({ url: '/api', workspace: 'acme', auth: () => 'token' }) satisfies Promise<string>;

const joined = live<Names, AppEvent>({
  url: '/api',
  workspace: 'acme',
  types: ['CHANNEL_UPDATED'],
  load({ position, signal }) {
    position satisfies string | undefined;
    signal satisfies AbortSignal;
    return {};
  },
  apply,
  connect: (options) => connect({ ...options, withCredentials: true }),
  onChange({ state, status, error }) {
    state satisfies Names | undefined;
    status satisfies LiveStatus;
    error satisfies DeniedError | undefined;
  },
});
joined.reload();
joined.close();
// @ts-expect-error the join owns its state
joined.state = {};

live({ url: '/api', workspace: 'acme', load, apply }).state satisfies Names | undefined;
// @ts-expect-error the join has the resets
live({ url: '/api', workspace: 'acme', load, apply, onReset() {} });
// @ts-expect-error no event has this type
live<Names, AppEvent>({ url: '/api', workspace: 'acme', load, apply, types: ['CHANNEL_RENAMED'] });
// @ts-expect-error a state from the server has a position
live({ url: '/api', workspace: 'acme', load, apply, initial: { state: {} } });

live<Names, AppEvent>({
  url: '/api',
  workspace: 'acme',
  load,
  apply,
  connect: (options) => connectShared({ ...options, user: 'ann' }),
});
// @ts-expect-error users never share a stream, so the function has to name the user
live({ url: '/api', workspace: 'acme', load, apply, connect: connectShared });
// @ts-expect-error the same with events that have types
live<Names, AppEvent>({ url: '/api', workspace: 'acme', load, apply, connect: connectShared });

TidingsProvider({ url: '/api', auth: async () => 'token', children: null });
TidingsProvider({ url: '/api', auth: (workspace) => ({ ticket: workspace satisfies string }) });
TidingsProvider({ url: '/api', connect: (options) => connectShared({ ...options, user: 'ann' }) });
// @ts-expect-error users never share a stream, so the provider's function has to name the user
TidingsProvider({ url: '/api', connect: connectShared });
// @ts-expect-error a provider needs the address of the broker
TidingsProvider({});

useEvents<AppEvent>('acme', {
  CHANNEL_UPDATED: ({ name }) => name satisfies string,
  // @ts-expect-error a deleted channel has no name
  CHANNEL_DELETED: ({ name }) => name,
});
useEvents<AppEvent>('acme', (event, id) => [event satisfies AppEvent, id satisfies string], {
  position: 'x',
  onReset: (reason) => reason satisfies string,
});

const shown = useLive({ workspace: 'acme', load, apply, initial: { state: {}, position: 'x' } });
shown.state satisfies Names | undefined;
shown.status satisfies LiveStatus;
shown.reload();
// @ts-expect-error a state has to be loaded
useLive({ workspace: 'acme', apply });

useStatus('acme').status === 'away';
// @ts-expect-error there is no such status
useStatus('acme').status === 'open';

createInvalidator<AppEvent>(new QueryClient(), {
  CHANNEL_UPDATED: ({ channelId, name }) => [['channel', channelId, name satisfies string]],
  CHANNEL_DELETED: [['channels']],
}).onReset();
// @ts-expect-error no event has this type
useInvalidation<AppEvent>('acme', { CHANNEL_RENAMED: [['channels']] });
useInvalidation<AppEvent>('acme', { CHANNEL_DELETED: [['channels']] }, { position: 'x' });
