/** The directories in which the names of a path are looked up, as the kernel does it: one after another, link by link. */
import { lstatSync, readlinkSync } from 'node:fs';
import path from 'node:path';

export interface Lookup {
  /** Without links. */
  readonly directory: string;
  readonly name: string;
}

/** Links that the kernel follows in one path. */
const linksMax = 40;

/** @param file  each name is looked up when it is asked for; throws an Error with `code` (ENOENT, ELOOP, ...) then */
export function* lookups(file: string): Generator<Lookup> {
  let links = 0;
  let directory: string = path.sep;
  let names = absolute(file).split(path.sep);
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === '' || name === '.') continue;
    yield { directory, name };
    const entry = path.join(directory, name);
    if (!lstatSync(entry).isSymbolicLink()) directory = entry;
    else {
      if (++links > linksMax) throw Object.assign(new Error(`${file}: too many links`), { code: 'ELOOP' });
      const target = readlinkSync(entry);
      if (path.isAbsolute(target)) directory = path.sep;
      names = [...target.split(path.sep), ...names];
    }
  }
}

/** With its ".." as they are: behind a link they lead elsewhere than they look. */
export function absolute(file: string): string {
  return path.isAbsolute(file) ? file : `${process.cwd()}/${file}`;
}
