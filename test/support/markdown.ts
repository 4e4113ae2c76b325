/** The code blocks of a page in docs/, for tests that do what it says. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './paths.js';

export interface Block {
  language: string;
  text: string;
}

export function blocksOf(page: string): Block[] {
  const text = readFileSync(path.join(root, 'docs', page), 'utf8');
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = '', block = '']) => ({
    language,
    text: block,
  }));
}
