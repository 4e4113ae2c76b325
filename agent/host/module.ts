/**
 * One PKCS#11 module in this process: load, initialise, find the token that a URI names, describe it.
 * A token is known by its serial number and label, never by a slot number that it had before.
 */
import pkcs11js, { type Handle, type PKCS11 } from 'pkcs11js';
import { AgentError, formatPkcs11Uri, matchesPkcs11Uri, parsePkcs11Uri } from '@keyagent/protocol';
import { native, type LoadedModule } from '../native/index.js';
import { refuseUnsafeModule } from '../unsafe-file.js';
import { TokenFailure, rvOf, translate } from './ckr.js';
import type { TokenInfo } from './host-protocol.js';
import { ulong } from './objects.js';

/** PKCS#11 v2.40 C_GetTokenInfo; those that decide what a login may cost. */
const flagNames = [
  [0x00000004, 'login-required'],
  [0x00000100, 'protected-authentication-path'],
  [0x00010000, 'user-pin-count-low'],
  [0x00020000, 'user-pin-final-try'],
  [0x00040000, 'user-pin-locked'],
  [0x00080000, 'user-pin-to-be-changed'],
] as const;

export interface LocatedToken {
  readonly slot: Handle;
  readonly info: TokenInfo;
}

export class TokenModule {
  readonly library: PKCS11;
  /** The same, for the addon. */
  readonly loaded: LoadedModule;

  /** @throws AgentError CONFIGURATION: others could change it, not there, not loadable, or not a PKCS#11 module */
  constructor(path: string) {
    this.library = new pkcs11js.PKCS11();
    // Again: modes may have changed since the configuration was read. Where that hangs, as on a network mount, only this
    // process does.
    refuseUnsafeModule(path);
    try {
      this.library.load(path);
      this.loaded = native.loadedModule(path);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : 'unknown reason';
      throw new AgentError('CONFIGURATION', `cannot load ${path} as a PKCS#11 module: ${reason}`, { cause });
    }
    try {
      this.library.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
    } catch (cause) {
      // By an `open` before this one, which found no token.
      if (rvOf(cause) === pkcs11js.CKR_CRYPTOKI_ALREADY_INITIALIZED) return;
      const failure = translate(cause);
      const ckr = failure instanceof TokenFailure ? failure.ckr : failure.message;
      throw new AgentError('TOKEN_ERROR', `C_Initialize of ${path} failed with ${ckr}`, { cause });
    }
  }

  /** Those that the URI matches. @throws AgentError only if there is none and a slot failed */
  list(uri: string): TokenInfo[] {
    const { tokens, failure } = this.#tokens();
    const matching = matchingTokens(uri, tokens).map(({ info }) => info);
    if (matching.length === 0 && failure !== undefined) throw failure;
    return matching;
  }

  /**
   * @returns the one that matches, and what else the module shows
   * @throws AgentError TOKEN_ABSENT, AMBIGUOUS
   */
  locate(uriText: string): LocatedToken & { readonly beside: readonly TokenInfo[] } {
    const { tokens, failure } = this.#tokens();
    const matching = matchingTokens(uriText, tokens);
    const [first, second] = matching;
    if (second !== undefined) {
      throw new AgentError('AMBIGUOUS', `${matching.length} tokens match ${uriText}; add serial=`, {
        candidates: matching.map(({ info }) => formatPkcs11Uri({ token: info.label, serial: info.serial })),
      });
    }
    if (first !== undefined) {
      const beside = tokens.filter((token) => token !== first).map(({ info }) => info);
      return { ...first, beside };
    }
    if (failure !== undefined) throw failure;
    const labels = tokens.map(({ info }) => JSON.stringify(info.label)).join(', ');
    throw new AgentError('TOKEN_ABSENT', `no token matches ${uriText}; the module shows ${labels || 'none'}`);
  }

  /** @throws TokenFailure, of which TOKEN_ABSENT means that the slot is empty now */
  describe(slot: Handle): TokenInfo {
    try {
      return this.#describe(slot);
    } catch (error) {
      throw translate(error);
    }
  }

  /** One sick slot must not hide the tokens of the others: its failure counts only if nothing matches. */
  #tokens(): { tokens: LocatedToken[]; failure: AgentError | undefined } {
    const tokens: LocatedToken[] = [];
    let failure: AgentError | undefined;
    for (const slot of this.#slots()) {
      try {
        if ((this.library.C_GetTokenInfo(slot).flags & pkcs11js.CKF_TOKEN_INITIALIZED) === 0) continue;
        tokens.push({ slot, info: this.#describe(slot) });
      } catch (error) {
        const translated = translate(error);
        if (translated.code !== 'TOKEN_ABSENT') failure = translated;
      }
    }
    return { tokens, failure };
  }

  #slots(): Handle[] {
    try {
      return this.library.C_GetSlotList(true);
    } catch (error) {
      throw translate(error);
    }
  }

  #describe(slot: Handle): TokenInfo {
    const token = this.library.C_GetTokenInfo(slot);
    const slotInfo = this.library.C_GetSlotInfo(slot);
    const library = this.library.C_GetInfo();
    return {
      label: trim(token.label),
      serial: trim(token.serialNumber),
      manufacturer: trim(token.manufacturerID),
      model: trim(token.model),
      libraryManufacturer: trim(library.manufacturerID),
      libraryDescription: trim(library.libraryDescription),
      libraryVersion: `${library.libraryVersion.major}.${library.libraryVersion.minor}`,
      slotId: ulong(slot) ?? 0,
      slotDescription: trim(slotInfo.slotDescription),
      slotManufacturer: trim(slotInfo.manufacturerID),
      flags: flagNames.filter(([bit]) => (token.flags & bit) !== 0).map(([, name]) => name),
    };
  }
}

function matchingTokens(uriText: string, tokens: readonly LocatedToken[]): LocatedToken[] {
  const uri = parsePkcs11Uri(uriText);
  return tokens.filter(({ info }) => matchesPkcs11Uri(uri, { ...info, token: info.label }));
}

/** Blank-padded by the standard; NUL-terminated by some modules. */
function trim(field: string): string {
  return field.replace(/\0.*$/s, '').replace(/ +$/, '');
}
