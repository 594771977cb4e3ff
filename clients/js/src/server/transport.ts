import type { Publication } from './publication.js';

/** A way to the broker. */
export interface Transport {
  /**
   * Publishes once, and returns the ids in order.
   *
   * @throws PublishError
   */
  send(publication: Publication, signal: AbortSignal): Promise<string[]>;
}
