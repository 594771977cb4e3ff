'use client';

import { createContext, useContext, useState, type ReactNode } from 'react';
import type { ConnectOptions } from 'tidings';
import { TidingsProvider, useLive, type InitialState } from 'tidings/react';
import { connectShared } from 'tidings/tabs';

import { schemas, type AppEvent } from '@/events';
import type { Channel } from '@/lib/channels';
import { getJson } from '@/lib/requests';

interface Workspace {
  id: string;
  name: string;
  generalId: string;
}

interface LiveWorkspace extends Workspace {
  /** Undefined until the first load. */
  channels: Channel[] | undefined;
  status: string;
  /** The reason for which the broker refuses the events. */
  denial: string | undefined;
  /** Whether the app has a newer version of this page. */
  isOutdated: boolean;
}

interface Props {
  workspace: Workspace;
  userId: string;
  /** The address of the broker. */
  url: string;
  initial: InitialState<Channel[]> | undefined;
  children: ReactNode;
}

const Context = createContext<LiveWorkspace | undefined>(undefined);

/** The workspace of the page, as it is now. */
export function useWorkspace(): LiveWorkspace {
  const workspace = useContext(Context);
  if (!workspace) throw new Error('useWorkspace needs a <WorkspaceProvider> above it');
  return workspace;
}

/** Keeps the channels of a workspace up to date. */
export function WorkspaceProvider({ url, userId, ...props }: Props) {
  const [isOutdated, setOutdated] = useState(false);
  // #region live updates
  const connect = (options: ConnectOptions) => connectShared({ ...options, user: userId });
  const options = { url, connect, types: TYPES, schemas, onOutdated: () => setOutdated(true) };
  return <TidingsProvider withCredentials {...options}><Channels {...props} isOutdated={isOutdated} /></TidingsProvider>;
  // #endregion
}

function Channels({ workspace, initial, isOutdated, children }: Omit<Props, 'url' | 'userId'> & { isOutdated: boolean }) {
  // #region live updates
  const load = () => getJson<Channel[]>(`/api/workspaces/${workspace.id}/channels`);
  const live = useLive<Channel[], AppEvent>({ workspace: workspace.id, initial, load, apply });
  // #endregion
  const value = { ...workspace, channels: live.state, status: live.status, denial: live.error?.message, isOutdated };
  return <Context value={value}>{children}</Context>;
}

// #region live updates
const TYPES: AppEvent['type'][] = ['CHANNEL_CREATED', 'CHANNEL_UPDATED', 'CHANNEL_DELETED'];
function apply(channels: Channel[], event: AppEvent): Channel[] {
  const others = channels.filter(({ id }) => id !== event.channelId);
  if (event.type === 'CHANNEL_DELETED') return others;
  return [...others, { id: event.channelId, name: event.name }];
}
// #endregion
