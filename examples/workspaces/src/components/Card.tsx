import type { ReactNode } from 'react';

/** A page with one box in its middle. */
export function Card({ title, children }: { title: string; children: ReactNode }) {
  return (
    <main className="centre">
      <section className="card">
        <h1>{title}</h1>
        {children}
      </section>
    </main>
  );
}
