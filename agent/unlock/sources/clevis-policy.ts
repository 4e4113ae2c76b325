/**
 * What a clevis JWE asks for before it opens. Input: a JWE in compact form (RFC 7516 3.1); its first part is the
 * protected header, which is no secret. Output: words for an operator. Nothing is decided by it.
 */
import { z } from 'zod';

const header = z.object({
  clevis: z.discriminatedUnion('pin', [
    z.object({ pin: z.literal('tang'), tang: z.object({ url: z.string() }) }),
    z.object({ pin: z.literal('sss'), sss: z.object({ t: z.int(), jwe: z.array(z.string()) }) }),
    z.object({ pin: z.literal('tpm2') }),
  ]),
});

/** sss may hold sss; clevis writes no deeper than an operator nests it. */
const depthMax = 4;

/** @returns undefined when it is no JWE that clevis made, or of a pin that is not known here */
export function clevisPolicy(jwe: string, depth = 0): string | undefined {
  const clevis = headerOf(jwe)?.clevis;
  switch (clevis?.pin) {
    case undefined:
      return undefined;
    case 'tang':
      return `Tang server ${clevis.tang.url}`;
    case 'tpm2':
      return "this machine's TPM";
    case 'sss': {
      const { t, jwe: parts } = clevis.sss;
      if (depth >= depthMax) return undefined;
      const names = parts.map((part) => clevisPolicy(part, depth + 1) ?? 'an unknown pin');
      return `${t} of ${parts.length} (${names.join(', ')})`;
    }
  }
}

function headerOf(jwe: string): z.infer<typeof header> | undefined {
  const [first = ''] = jwe.split('.', 1);
  try {
    return header.safeParse(JSON.parse(Buffer.from(first, 'base64url').toString('utf8'))).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
