/**
 * Certificates of a token: read, pick a key's own, build the chain of issuers that the token holds.
 * Anybody may write certificates into a token, so each link is proven by its signature.
 */
import { X509Certificate } from 'node:crypto';
import type { Handle } from 'pkcs11js';
import { cka, text, type ObjectReader } from './objects.js';
import type { HostCertificate } from './host-protocol.js';
import { describeKey, type PublicKey } from './public-key.js';

const ckcX509 = 0;
/** schema.ts: certificates of a `key` reply. */
const chainMax = 8;

export interface TokenCertificate {
  readonly label: string;
  readonly id: Buffer;
  readonly x509: X509Certificate;
  /** undefined: an algorithm that is not served; it may still issue others. */
  readonly publicKey: PublicKey | undefined;
}

/** undefined: an object that does not parse can be nobody's certificate. */
export function readCertificate(reader: ObjectReader, object: Handle): TokenCertificate | undefined {
  const [type, label, id, value] = reader.read(object, [cka.certificateType, cka.label, cka.id, cka.value]);
  if (type?.some((byte) => byte !== ckcX509) === true) return undefined;
  const x509 = value === undefined ? undefined : parse(value);
  if (x509 === undefined) return undefined;
  return { label: text(label), id: id ?? Buffer.alloc(0), x509, publicKey: publicKeyOf(x509) };
}

function parse(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

function publicKeyOf(x509: X509Certificate): PublicKey | undefined {
  try {
    return describeKey(x509.publicKey);
  } catch {
    // Not a key that is served, or one that OpenSSL cannot read: the certificate may parse all the same.
    return undefined;
  }
}

/** The key's own certificate and its issuers. Of several own ones the one that lasts longest. */
export function chainOf(
  own: readonly TokenCertificate[],
  all: readonly TokenCertificate[],
): HostCertificate[] {
  const leaf = [...own].sort((a, b) => Date.parse(b.x509.validTo) - Date.parse(a.x509.validTo))[0];
  if (leaf === undefined) return [];
  const chain = [leaf];
  for (let last = leaf; chain.length < chainMax;) {
    const issuer = all.find(
      (candidate) => !chain.includes(candidate) && isIssuedBy(last.x509, candidate.x509),
    );
    if (issuer === undefined || isIssuedBy(last.x509, last.x509)) break;
    chain.push(issuer);
    last = issuer;
  }
  return chain.map(({ label, id, x509 }) => ({ label, id, der: x509.raw }));
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    // An issuer's key that OpenSSL cannot read has issued nothing that we could prove.
    return false;
  }
}
