/**
 * What `keyagent conf` knows of a program: the configuration that makes it use one key, and the commands that put it
 * in place on Debian. Pure: a subject in, text out.
 */
import type { Pkcs11Uri } from '@keyagent/protocol';

export interface Subject {
  /** The private key, as pkcs11: URI without a single quote in it: it may stand in quotes of either kind. */
  readonly uri: string;
  /** For the names of files: letters, digits, `._-`. */
  readonly name: string;
}

export interface Recipe {
  /** What the program's configuration calls a comment. */
  readonly comment: '#' | ';';
  /** To be typed as root, once. */
  readonly steps: readonly string[];
  readonly text: string;
}

export function subjectOf({ text, path }: Pkcs11Uri): Subject {
  const [attributes = ''] = text.replace(/^keyagent:/i, 'pkcs11:object=').split('?');
  const others = attributes.replaceAll("'", '%27').replace(/(?<=[:;])type=[^;]*;?/, '');
  const end = others.endsWith(':') || others.endsWith(';') ? '' : ';';
  return { uri: `${others}${end}type=private`, name: fileName(path) };
}

function fileName(path: Pkcs11Uri['path']): string {
  const label = path
    .get('object')
    ?.replaceAll(/[^A-Za-z0-9._-]/g, '_')
    .replace(/^[.-]+/, '');
  if (label !== undefined && label !== '') return label.slice(0, 64);
  const id = Buffer.from(path.get('id') ?? '', 'latin1')
    .toString('hex')
    .slice(0, 64);
  return id === '' ? 'key' : id;
}

/** The PEM files that programs read: the certificates, and the reference that stands for the key. */
export function certificateFile({ name }: Subject): string {
  return `/etc/keyagent/${name}.pem`;
}

export function referenceFile({ name }: Subject): string {
  return `/etc/keyagent/${name}.key`;
}

export const opensslFile = '/etc/keyagent/openssl.cnf';

/** What every program needs first: OpenSSL's configuration, and the certificate with its issuers. */
export function commonSteps(subject: Subject): string[] {
  return [
    'mkdir -p /etc/keyagent',
    `keyagent conf openssl > ${opensslFile}`,
    `keyagent cert --chain '${subject.uri}' > ${certificateFile(subject)}`,
  ];
}

/** The same, and the key file for programs that have one. */
export function pemSteps(subject: Subject): string[] {
  return [...commonSteps(subject), `keyagent ref '${subject.uri}' > ${referenceFile(subject)}`];
}

/** A drop-in that gives a service OpenSSL's configuration. */
export function unitSteps(service: string, ...variables: readonly string[]): string[] {
  const folder = `/etc/systemd/system/${service}.service.d`;
  const lines = [`OPENSSL_CONF=${opensslFile}`, ...variables].map((each) => `Environment=${each}\\n`);
  return [
    `mkdir -p ${folder}`,
    `printf '[Service]\\n${lines.join('')}' > ${folder}/keyagent.conf`,
    'systemctl daemon-reload',
  ];
}

/** The whole text: what to do with it comes first, as comments. */
export function render({ comment, steps, text }: Recipe): string {
  const lines = ['Made by keyagent conf. Once, as root:', ...steps.map((step) => `  ${step}`)];
  return `${lines.map((line) => `${comment} ${line}\n`).join('')}\n${text}`;
}
