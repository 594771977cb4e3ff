// The app of the tests: a page that shows the numbers of a workspace. The server renders it too.
import { StrictMode, Suspense, useState, useTransition } from 'react';

import { TidingsProvider, useEvents, useLive, useStatus } from 'tidings/react';

/** What the page has seen, for the test. */
export const seen = { loads: 0, renders: [], shown: [], tagged: [], resets: [], warnings: [] };

async function load(workspace, signal) {
  seen.loads += 1;
  const response = await fetch(`/state?workspace=${workspace}`, { signal });
  return response.json();
}

const apply = (state, { n }) => ({
  ...state,
  numbers: state.numbers.includes(n) ? state.numbers : [...state.numbers, n],
});

function Numbers({ workspace, initial, tag }) {
  const { state, status, error, reload } = useLive({
    workspace,
    initial,
    load: ({ signal }) => load(workspace, signal),
    apply,
  });
  // A new function in each render.
  useEvents(workspace, { NUMBER: ({ n }) => seen.tagged.push(`${tag}:${n}`) }, {
    onReset: (reason) => seen.resets.push(reason),
  });
  seen.renders.push({ workspace, of: state?.workspace ?? null, status });
  seen.shown.push(state ? state.numbers.join(' ') : 'none');
  return (
    <main>
      <p id="numbers">{state ? state.numbers.join(' ') : 'none'}</p>
      <p id="status">{error ? `${status}: ${error.reason}` : status}</p>
      <p id="tag">{tag}</p>
      <button id="reload" onClick={reload}>
        reload
      </button>
    </main>
  );
}

function Line({ workspace }) {
  return <p id="line">{useStatus(workspace).status}</p>;
}

/** Suspends until the promise of the test is resolved, in the manner of React 18, which has no `use`. */
function Held({ promise }) {
  if (promise) throw promise;
  return null;
}

/** Calls `expose` with a function that changes the properties, at once or in a transition. */
export function App({ expose, ...first }) {
  const [props, setProps] = useState(first);
  const [, startTransition] = useTransition();
  const change = (next) => setProps((before) => ({ ...before, ...next }));
  expose?.(change, (next) => startTransition(() => change(next)));
  const { url, workspace, views = 1, headers, held, initial, tag = 'first' } = props;
  const app = (
    <TidingsProvider
      url={url}
      headers={headers}
      heartbeatMs={1000}
      onWarning={(text) => seen.warnings.push(text)}
    >
      <Line workspace={workspace} />
      <Suspense fallback={<p id="fallback">held</p>}>
        {Array.from({ length: views }, (_, index) => (
          <Numbers key={index} workspace={workspace} initial={initial} tag={tag} />
        ))}
        <Held promise={held} />
      </Suspense>
    </TidingsProvider>
  );
  return <StrictMode>{app}</StrictMode>;
}
