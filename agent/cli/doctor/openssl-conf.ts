/**
 * What an OpenSSL configuration says of providers (config(5)). Only to tell why something does not work: whether it
 * does is OpenSSL's to say. Variables and included files are not followed.
 */

export interface ProviderSections {
  /** Settings by provider name, such as module and activate; empty where no provider is named. */
  readonly providers: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

type Section = Map<string, string>;

export function providerSections(text: string): ProviderSections {
  const sections = sectionsOf(text);
  const root = sections.get('');
  const init = sections.get(root?.get('openssl_conf') ?? '\0');
  const list = sections.get(init?.get('providers') ?? '\0') ?? new Map<string, string>();
  const providers = [...list].map(([name, section]): [string, Section] => [
    name,
    sections.get(section) ?? new Map<string, string>(),
  ]);
  return { providers: new Map(providers) };
}

function sectionsOf(text: string): Map<string, Section> {
  let section: Section = new Map();
  const sections = new Map([['', section]]);
  for (const line of text.replace(/\\\r?\n/g, '').split(/\r?\n/)) {
    const content = line.replace(/^\s*#.*|\s#.*$/, '').trim();
    const header = /^\[\s*([^\]]*?)\s*\]/.exec(content)?.[1];
    if (header !== undefined) {
      // A section may be opened again.
      section = sections.get(header) ?? new Map<string, string>();
      sections.set(header, section);
    }
    const [, name, value = ''] = /^([^\s=[]+)\s*=\s*(.*)$/.exec(content) ?? [];
    if (name !== undefined) section.set(name, value.replace(/^(["'])(.*)\1$/, '$2'));
  }
  return sections;
}
