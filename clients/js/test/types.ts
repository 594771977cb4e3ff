// Types as an application uses them. tsc checks this file, nothing runs it.
import {
  connect,
  DeniedError,
  type AnyEvent,
  type Connection,
  type ResetReason,
  type Status,
} from 'tidings';
import { xhrTransport } from 'tidings/react-native';
import { connectShared, endShared } from 'tidings/tabs';
import { createTraces } from 'tidings/traces';

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

const connection: Connection = connect<AppEvent>({
  url: '/api',
  workspace: 'acme',
  auth: async () => ({ ticket: 'x', expiresAt: 1 }),
  events: {
    CHANNEL_UPDATED(event, id) {
      event satisfies ChannelUpdated;
      id satisfies string;
    },
    CHANNEL_DELETED(event) {
      event satisfies ChannelDeleted;
      // @ts-expect-error a deleted channel has no name
      event.name;
    },
    // @ts-expect-error no event has this type
    CHANNEL_RENAMED() {},
  },
  onEvent(event) {
    if (event.type === 'CHANNEL_UPDATED') event.name satisfies string;
  },
  onReset(reason, from, head) {
    reason satisfies ResetReason;
    from satisfies string | null;
    head satisfies string;
  },
  onStatus(status, error) {
    status satisfies Status;
    if (status === 'denied') error?.check satisfies string | undefined;
    // @ts-expect-error there is no such status
    status === 'open';
  },
});

connection.status satisfies Status;
connection.position satisfies string | undefined;
connection.error satisfies DeniedError | undefined;
// @ts-expect-error the connection owns its position
connection.position = '';
connection.close();

connect({
  url: 'https://events.example.com/api',
  workspace: 'acme',
  auth: () => 'token',
  onEvent(event) {
    event satisfies AnyEvent;
    event['name'] satisfies unknown;
  },
  events: { ANY: (event) => event['name'] satisfies unknown },
});

// @ts-expect-error a workspace is required
connect({ url: '/api' });
// @ts-expect-error credentials are a token or a ticket
connect({ url: '/api', workspace: 'acme', auth: async () => ({}) });

new DeniedError('your session has ended', { reason: 'signed-out' }).reason satisfies string | undefined;

connectShared<AppEvent>({
  url: '/api',
  workspace: 'acme',
  user: 'ann',
  schemas: '0123456789abcdef',
  onOutdated: (version) => version satisfies string,
  transport: xhrTransport,
}) satisfies Connection;
const traces = createTraces(xhrTransport);
connect({ url: '/api', workspace: 'acme', transport: traces.transport }) satisfies Connection;
traces.traceparentOf('acme', '1-0') satisfies string | undefined;
endShared('ann');
// @ts-expect-error users never share, so the user is required
connectShared({ url: '/api', workspace: 'acme' });
// @ts-expect-error a page without a session has no user
connectShared({ url: '/api', workspace: 'acme', user: undefined });
