/**
 * Where each key of a TOML document stands, for error messages: the parser keeps no positions.
 * Input: text that parses as TOML 1.0. Output: the line of every table and key; an inline table or
 * array counts as one value, on the line of its key.
 */

/** A number is the index in an array of tables. */
export type KeyPath = readonly (string | number)[];

export class KeyLines {
  readonly #lines = new Map<string, number>();
  /** Tables seen so far in each array of tables. */
  readonly #arrays = new Map<string, number>();

  constructor(text: string) {
    const cursor = new Cursor(text);
    let table: KeyPath = [];
    while (!cursor.skipBlank()) {
      const line = cursor.line;
      if (cursor.take('[')) {
        const isArray = cursor.take('[');
        table = this.#open(cursor.keys(']'), isArray);
        cursor.skipComment();
        this.#note(table, line);
      } else {
        const path = [...table, ...cursor.keys('=')];
        cursor.skipValue();
        this.#note(path, line);
      }
    }
  }

  /** The line of the path, or of the nearest table around it; 1 if there is none. */
  lineOf(path: KeyPath): number {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(JSON.stringify(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return 1;
  }

  /** `[a.b]` inside `[[a]]` means the last table of that array (TOML 1.0, Array of Tables). */
  #open(names: readonly string[], isArray: boolean): KeyPath {
    const path: (string | number)[] = [];
    names.forEach((name, index) => {
      path.push(name);
      const key = JSON.stringify(path);
      if (isArray && index === names.length - 1) this.#arrays.set(key, (this.#arrays.get(key) ?? 0) + 1);
      const count = this.#arrays.get(key);
      if (count !== undefined) path.push(count - 1);
    });
    return path;
  }

  #note(path: KeyPath, line: number): void {
    for (let length = 1; length <= path.length; length++) {
      const key = JSON.stringify(path.slice(0, length));
      if (!this.#lines.has(key)) this.#lines.set(key, line);
    }
  }
}

/** Walks over well-formed TOML; knows just enough not to look for keys inside strings and arrays. */
class Cursor {
  #at = 0;
  line = 1;

  constructor(readonly text: string) {}

  private get atEnd(): boolean {
    return this.#at >= this.text.length;
  }

  take(token: string): boolean {
    if (!this.text.startsWith(token, this.#at)) return false;
    this.#advance(token.length);
    return true;
  }

  /** White space, newlines and comments. @returns true at the end of the text */
  skipBlank(): boolean {
    while (!this.atEnd) {
      if (/\s/.test(this.#current)) this.#advance(1);
      else if (this.#current === '#') this.skipComment();
      else return false;
    }
    return true;
  }

  skipComment(): void {
    while (!this.atEnd && this.#current !== '\n') this.#advance(1);
  }

  /** A dotted key up to and including `end`. */
  keys(end: string): string[] {
    const names: string[] = [];
    while (!this.atEnd && !this.take(end)) {
      if (this.#current === '"' || this.#current === "'") names.push(this.#string());
      else if (/[A-Za-z0-9_-]/.test(this.#current)) names.push(this.#bareKey());
      else this.#advance(1);
    }
    return names;
  }

  /** A value, to the end of its last line. */
  skipValue(): void {
    let depth = 0;
    while (!this.atEnd) {
      const character = this.#current;
      if (character === '\n' && depth === 0) return;
      if (character === '"' || character === "'") this.#string();
      else if (character === '#') this.skipComment();
      else {
        if (character === '[' || character === '{') depth++;
        if (character === ']' || character === '}') depth--;
        this.#advance(1);
      }
    }
  }

  get #current(): string {
    return this.text.charAt(this.#at);
  }

  #bareKey(): string {
    const start = this.#at;
    while (!this.atEnd && /[A-Za-z0-9_-]/.test(this.#current)) this.#advance(1);
    return this.text.slice(start, this.#at);
  }

  /** Any of the four kinds of string, quotes left out. Escapes stay as written: no key of ours needs one. */
  #string(): string {
    const quote = this.#current;
    const mark = this.text.startsWith(quote.repeat(3), this.#at) ? quote.repeat(3) : quote;
    this.#advance(mark.length);
    const start = this.#at;
    while (!this.atEnd && !this.text.startsWith(mark, this.#at)) {
      this.#advance(quote === '"' && this.#current === '\\' ? 2 : 1);
    }
    const content = this.text.slice(start, this.#at);
    this.#advance(mark.length);
    // """" and """"" end a multi-line string with one or two quotes inside.
    while (mark.length === 3 && this.#current === quote) this.#advance(1);
    return content;
  }

  #advance(count: number): void {
    const end = Math.min(this.#at + count, this.text.length);
    for (; this.#at < end; this.#at++) {
      if (this.#current === '\n') this.line++;
    }
  }
}
