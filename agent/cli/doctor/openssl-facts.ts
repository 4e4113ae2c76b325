/** Gathers what openssl.ts and the engine's check judge: through openssl(1), run as the user. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import type { Account } from '../account.js';
import { opensslFile } from '../recipes/recipe.js';
import { asUser, runAs, type Outcome } from './as-user.js';
import { providerSections, type ProviderSections } from './openssl-conf.js';
import type { OpensslFacts } from './openssl.js';
import type { ServerEnvironment } from './server-environment.js';

type Gathered = Omit<OpensslFacts, 'user' | 'version' | 'sockets'>;

export interface OpensslPlaces {
  /** As the server is to have it. */
  readonly env: ServerEnvironment;
  readonly file: string;
  readonly named: boolean;
  readonly modules: string;
  readonly engines: string;
}

/** @throws AgentError CONFIGURATION where there is no openssl(1) to ask */
export function opensslPlaces(account: Account, env: ServerEnvironment): OpensslPlaces {
  const { stdout } = mustRun(runAs(account, ['openssl', 'version', '-d', '-m', '-e'], {}));
  const built = (name: string): string => new RegExp(`^${name}: "(.*)"$`, 'm').exec(stdout)?.[1] ?? '';
  const file =
    env.OPENSSL_CONF ??
    (existsSync(opensslFile) ? opensslFile : path.join(built('OPENSSLDIR'), 'openssl.cnf'));
  return {
    env: { ...env, OPENSSL_CONF: file },
    file,
    named: env.OPENSSL_CONF !== undefined,
    modules: env.OPENSSL_MODULES ?? built('MODULESDIR'),
    engines: env.OPENSSL_ENGINES ?? built('ENGINESDIR'),
  };
}

export async function gatherOpenssl(account: Account, places: OpensslPlaces): Promise<Gathered> {
  const { file, named, env, modules } = places;
  const read = await asUser(account, () => readSections(file));
  const sections = typeof read === 'string' ? undefined : read;
  const active = activeProviders(mustRun(runAs(account, ['openssl', 'list', '-providers'], env)).stdout);
  const module = path.resolve(modules, sections?.providers.get('keyagent')?.get('module') ?? 'keyagent.so');
  const loadError = active.has('keyagent') ? undefined : whyNotLoaded(account, module);
  return {
    file,
    named,
    socketVariable: env.KEYAGENT_SOCK,
    sections,
    unreadable: typeof read === 'string' ? read : undefined,
    active,
    module,
    loadError,
  };
}

/** The engine's file, if there is one. */
export function pkcs11Engine({ engines }: OpensslPlaces): string | undefined {
  return ['pkcs11.so', 'libpkcs11.so']
    .map((name) => path.join(engines, name))
    .find((file) => statSync(file, { throwIfNoEntry: false }) !== undefined);
}

function readSections(file: string): ProviderSections | string {
  try {
    return providerSections(readFileSync(file, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code ?? message;
  }
}

/** Two blanks, the name; below it lines with more blanks. */
function activeProviders(list: string): Map<string, string> {
  const entries = list.split(/^ {2}(?=\S)/m).slice(1);
  return new Map(
    entries
      .filter((entry) => /^\s+status: active$/m.test(entry))
      .map((entry) => [entry.split('\n', 1)[0] ?? '', /^\s+version: (.*)$/m.exec(entry)?.[1] ?? '']),
  );
}

/** OpenSSL passes over a provider of its configuration that cannot be loaded; asked for by name, it says why. */
function whyNotLoaded(account: Account, module: string): string | undefined {
  const load = ['-provider-path', path.dirname(module), '-provider', path.basename(module, '.so')];
  const { status, stderr } = runAs(account, ['openssl', 'list', '-providers', ...load], {
    OPENSSL_CONF: '/dev/null',
  });
  return status === 0 ? undefined : (/filename\(.*?\): (?:.*: )?(.*)$/m.exec(stderr)?.[1] ?? stderr.trim());
}

function mustRun(outcome: Outcome): Outcome {
  if (outcome.status === 0) return outcome;
  const why = outcome.stderr.trim().split('\n', 1)[0] ?? '';
  throw new AgentError('CONFIGURATION', `openssl(1) failed (${why}); install openssl`);
}
