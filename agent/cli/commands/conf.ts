/**
 * `keyagent conf PROGRAM URI`: a configuration with which a program uses a key, and as comments what puts it in place;
 * `keyagent conf openssl` is what all of them need. docs/servers/ has a page for each.
 */
import path from 'node:path';
import { AgentError } from '@keyagent/protocol';
import { Argument, type Command } from 'commander';
import { systemRuntimeDir } from '../../config/locations.js';
import { keyUri } from '../key-uri.js';
import { lookUp } from '../key-lookup.js';
import { apache } from '../recipes/apache.js';
import { haproxy } from '../recipes/haproxy.js';
import { nginx } from '../recipes/nginx.js';
import { node } from '../recipes/node.js';
import { opensslConf } from '../recipes/openssl.js';
import { postgres } from '../recipes/postgres.js';
import { render, subjectOf, type Recipe, type Subject } from '../recipes/recipe.js';
import { stunnel } from '../recipes/stunnel.js';
import type { Session } from '../session.js';

type Recipes = Record<string, (subject: Subject, socket: string | undefined) => Recipe>;

const recipes: Recipes = { apache, haproxy, nginx, node, postgres, stunnel };

export function addConf(program: Command, session: Session): void {
  program
    .command('conf')
    .addArgument(new Argument('<program>').choices(['openssl', ...Object.keys(recipes)]))
    .argument('[uri]', 'the key, as RFC 7512 URI; openssl takes none')
    .description('print a configuration with which a program uses a key')
    .action(async (name: string, text: string | undefined) => {
      const configuration = await configurationFor(name, text, session);
      await session.print({ program: name, configuration }, configuration);
    });
}

async function configurationFor(name: string, text: string | undefined, session: Session): Promise<string> {
  const socket = unusualSocket(session);
  const recipe = recipes[name];
  if (recipe === undefined) {
    if (text !== undefined)
      throw new AgentError('INVALID', 'openssl: its configuration names no key; leave the URI out');
    return opensslConf({ socket, entry: 'openssl_conf', exportPublic: false });
  }
  if (text === undefined) throw new AgentError('INVALID', `name the key: keyagent conf ${name} URI`);
  const subject = subjectOf(keyUri(text));
  await lookUp(subject.uri, 'configuration', session);
  return render(recipe(subject, socket));
}

/** The provider finds the system's socket by itself. */
function unusualSocket(session: Session): string | undefined {
  const { client } = session.sockets;
  return client === path.join(systemRuntimeDir, 'agent.sock') ? undefined : client;
}
