/** The deny list: ranges from which nothing is taken that comes in by the uplink. */
import { z } from 'zod';
import { someCidr } from './address.js';
import { numberInDigits } from './query.js';

/** Ranges that the list may have. */
export const DENY_LIST_MAX = 100_000;
const PAGE_MAX = 10_000;

const cidrs = z.array(someCidr).max(DENY_LIST_MAX, `must have at most ${DENY_LIST_MAX} ranges`);

/** Body of PUT, POST and DELETE /firewall/deny-list. */
export const denyListRequest = z
  .strictObject({ cidrs: cidrs.describe('Ranges, or addresses; not everybody (a prefix length of 0)') })
  .meta({ id: 'DenyListRequest', description: 'Ranges of the deny list' });
export type DenyListRequest = z.output<typeof denyListRequest>;

export const denyListQuery = z.strictObject({
  after: someCidr.optional().describe('Go on after this one: `next` of the page before'),
  limit: numberInDigits(z.int().min(1).max(PAGE_MAX)).prefault(1000).describe('Most ranges of a page'),
});
export type DenyListQuery = z.output<typeof denyListQuery>;

export const denyList = z
  .strictObject({
    cidrs: z.array(z.string()).max(PAGE_MAX).describe('Ranges, in the order of their text'),
    total: z.int().min(0).describe('Ranges of the whole list'),
    next: z.string().optional().describe('The last of this page, when there are more'),
  })
  .meta({ id: 'DenyList', description: 'A page of the ranges from which nothing is taken' });
export type DenyList = z.infer<typeof denyList>;

export const denyListChange = z
  .strictObject({
    added: z.int().min(0).describe('Ranges that were not there before'),
    removed: z.int().min(0).describe('Ranges that were there before'),
    total: z.int().min(0).describe('Ranges of the whole list now'),
  })
  .meta({ id: 'DenyListChange', description: 'What a change of the deny list has come to' });
export type DenyListChange = z.infer<typeof denyListChange>;
