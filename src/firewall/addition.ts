/** A change that adds all of something: of compiled rules, or of what they are in the kernel. */

/** All that the policy maps hold, of whatever shape it is. */
interface Contents<Entry, Subject, Cidr> {
  readonly entries: Entry[];
  readonly subjects: Subject[];
  readonly cidrs: Cidr[];
}

/** Nothing is copied. */
export function addition<Entry, Subject, Cidr>({ entries, subjects, cidrs }: Contents<Entry, Subject, Cidr>) {
  const nothing: never[] = [];
  return {
    set: entries,
    delete: nothing,
    subjects: { set: subjects, delete: nothing },
    cidrs: { set: cidrs, delete: nothing },
  };
}
