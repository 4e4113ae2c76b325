/** How the keyring child tells its outcome: exit statuses that neither Node nor a shell uses. */
export const keyringExit = { done: 0, none: 33, failed: 34 } as const;
