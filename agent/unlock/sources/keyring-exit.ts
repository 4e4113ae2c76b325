/**
 * How the keyring child tells its outcome: exit statuses that neither Node nor a shell uses. hidden: there is nothing
 * to get or to delete, and nobody can tell whether it is missing or locked.
 */
export const keyringExit = { done: 0, none: 33, failed: 34, locked: 35, hidden: 36 } as const;
