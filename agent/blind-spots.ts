/** What keeps this process from seeing what its rules ask for: told at start, or a rule would never match in silence. */
import type { Rule } from './policy/rule.js';
import { processFacts } from './socket/process.js';

/** Belongs to root, like most of what rules are about. */
const init = 1;

/** @returns a sentence for each kind of rule that cannot match */
export function blindSpots(rules: readonly Rule[]): string[] {
  const wantsUnits = rules.some(({ units }) => units !== undefined);
  const wantsExes = rules.some(({ exes }) => exes !== undefined);
  if (!wantsUnits && !wantsExes) return [];
  const facts = processFacts(init);
  if (facts === undefined) {
    return [
      'rules with units or exe do not match: /proc hides other processes (ProtectProc=default shows them)',
    ];
  }
  const isBlind = wantsExes && facts.shownExe === undefined;
  return isBlind
    ? [
        "rules with exe match programs of this user only: others' need CAP_SYS_PTRACE (AmbientCapabilities= in a drop-in)",
      ]
    : [];
}
