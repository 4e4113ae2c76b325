/** Whether OpenSSL, run by a user, has keyagent's provider, the default one beside it, and the agent's socket. Pure. */
import { note, ok, problem, type Check } from './check.js';
import type { ProviderSections } from './openssl-conf.js';

export interface OpensslFacts {
  readonly user: string;
  /** The configuration, and whether that is what the server was said to have in OPENSSL_CONF. */
  readonly file: string;
  readonly named: boolean;
  /** undefined: this user cannot read it, for `unreadable`. */
  readonly sections: ProviderSections | undefined;
  readonly unreadable: string | undefined;
  /** Version by name of each provider that is active, as `openssl list -providers` says. */
  readonly active: ReadonlyMap<string, string>;
  /** Where the module of the provider is looked for, and what became of loading it from there. */
  readonly module: string;
  readonly loadError: string | undefined;
  /** Version of this command. */
  readonly version: string;
  /** Client sockets of the agent, its first one first. */
  readonly sockets: readonly string[];
  /** KEYAGENT_SOCK in the server's environment. */
  readonly socketVariable: string | undefined;
}

const ownFile = '/etc/keyagent/openssl.cnf';
const write = `keyagent conf openssl > ${ownFile}, and OPENSSL_CONF=${ownFile} in the server's environment`;

export function opensslChecks(facts: OpensslFacts): Check[] {
  const file = fileCheck(facts);
  if (facts.sections === undefined || !hasProvider(facts)) return [file];
  return [file, moduleCheck(facts), defaultCheck(facts), socketCheck(facts)];
}

function hasProvider({ sections, active }: OpensslFacts): boolean {
  return active.has('keyagent') || sections?.providers.has('keyagent') === true;
}

function fileCheck(facts: OpensslFacts): Check {
  const { user, file, named, sections, unreadable } = facts;
  const name = 'openssl.cnf';
  if (sections === undefined) {
    // OpenSSL goes on without a word.
    const says = `${user} cannot read ${file} (${unreadable ?? ''})`;
    return problem(name, 'CONFIGURATION', says, `chmod a+r ${file} and a+x its directories; or ${write}`);
  }
  if (!hasProvider(facts)) return problem(name, 'CONFIGURATION', `${file} names no provider keyagent`, write);
  if (named) return ok(name, `${file} names the provider`);
  return note(name, `${file} names the provider`, `the server needs OPENSSL_CONF=${file} in its environment`);
}

function moduleCheck({ user, active, file, module, loadError, sections, version }: OpensslFacts): Check {
  const name = 'provider';
  const found = active.get('keyagent');
  if (found === version) return ok(name, `${user} loads keyagent ${found} from ${module}`);
  if (found !== undefined)
    return problem(
      name,
      'CONFIGURATION',
      `${module} is version ${found}, this is keyagent ${version}`,
      'install both from one version and restart the server',
    );
  if (loadError !== undefined)
    return problem(
      name,
      'CONFIGURATION',
      `${user} cannot load ${module} (${loadError})`,
      `mend "module =" in ${file}: keyagent conf openssl prints it`,
    );
  if (sections?.providers.get('keyagent')?.get('activate') === undefined)
    return problem(
      name,
      'CONFIGURATION',
      `${file} does not activate keyagent`,
      'add "activate = 1" to its section',
    );
  return problem(name, 'CONFIGURATION', `${module} can be loaded, but OpenSSL does not with ${file}`, write);
}

/** Naming any provider takes away the one that is there without a configuration. */
function defaultCheck({ active, file }: OpensslFacts): Check {
  const name = 'default provider';
  if (active.has('default')) return ok(name, 'active beside it');
  const remedy = `add "default = default_sect" to the providers of ${file}, and a section [default_sect] with "activate = 1"`;
  return problem(name, 'CONFIGURATION', 'not active: OpenSSL can hash and encrypt nothing', remedy);
}

/** What the provider takes if nothing else is said. */
const builtIn = '/run/keyagent/agent.sock';

function socketCheck({ sections, file, sockets, socketVariable }: OpensslFacts): Check {
  const name = 'provider socket';
  const written = sections?.providers.get('keyagent')?.get('socket');
  const socket = socketVariable ?? written ?? builtIn;
  if (sockets.includes(socket)) return ok(name, `${socket} is the agent's`);
  const [first = builtIn] = sockets;
  const place = socketVariable === undefined ? file : 'KEYAGENT_SOCK';
  const remedy =
    socketVariable === undefined
      ? `write "socket = ${first}" into the section of keyagent in ${file}`
      : `KEYAGENT_SOCK=${first} in the server's environment`;
  if (sockets.some((each) => each.endsWith(socket)))
    return note(name, `${socket} is the agent's for a server in a chroot only`, `for others ${remedy}`);
  const says = `${place} leads to ${socket}, the agent listens on ${sockets.join(', ')}`;
  return problem(name, 'CONFIGURATION', says, remedy);
}

/** mod_ssl hands pkcs11: URIs to an engine of that name before it asks any provider; nothing else does. */
export function engineCheck(engine: string | undefined, directory: string): Check {
  const name = 'engine';
  if (engine === undefined) return ok(name, `${directory} has no engine that takes pkcs11: URIs first`);
  return note(
    name,
    `${engine} takes pkcs11: URIs in Apache before any provider, and fails`,
    "an empty folder in OPENSSL_ENGINES of Apache's environment, or keyagent ref URI instead of the URI",
  );
}
