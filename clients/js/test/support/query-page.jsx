// A page with TanStack Query: it shows the numbers of a workspace and loads them again by events.
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { QueryClient, QueryClientProvider, useQuery } from '@tanstack/react-query';
import { TidingsProvider, useStatus } from 'tidings/react';
import { useInvalidation } from 'tidings/query';

window.change = () => undefined;
window.fetches = 0;

function Numbers({ workspace }) {
  const { data } = useQuery({
    queryKey: ['numbers', workspace],
    async queryFn() {
      window.fetches += 1;
      return (await fetch(`/state?workspace=${workspace}`)).json();
    },
  });
  useInvalidation(workspace, { NUMBER: [['numbers', workspace]] });
  const { status } = useStatus(workspace);
  return (
    <main>
      <p id="numbers">{data ? data.numbers.join(' ') : 'none'}</p>
      <p id="status">{status}</p>
    </main>
  );
}

const { url, workspace } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const app = (
  <StrictMode>
    <QueryClientProvider client={new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } })}>
      <TidingsProvider url={url} heartbeatMs={1000}>
        <Numbers workspace={workspace} />
      </TidingsProvider>
    </QueryClientProvider>
  </StrictMode>
);
createRoot(document.getElementById('root')).render(app);
