import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError, parsePkcs11Pattern, parsePkcs11Uri, refuseSelectorQuery } from '@keyagent/protocol';

interface Parsed {
  readonly uri: string;
  readonly path: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, string>>;
}

/** The examples of RFC 7512 section 3, and what its grammar makes of edge cases. */
const accepted: readonly Parsed[] = [
  { uri: 'pkcs11:', path: {} },
  { uri: 'PKCS11:object=a', path: { object: 'a' } },
  { uri: 'pkcs11:object=my-pubkey;type=public', path: { object: 'my-pubkey', type: 'public' } },
  {
    uri: 'pkcs11:object=my-key;type=private?pin-source=file:/etc/token',
    path: { object: 'my-key', type: 'private' },
    query: { 'pin-source': 'file:/etc/token' },
  },
  {
    uri: 'pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin',
    path: {
      token: 'The Software PKCS#11 Softtoken',
      manufacturer: 'Snake Oil, Inc.',
      model: '1.0',
      object: 'my-certificate',
      type: 'cert',
      id: 'i\x95>\\\xf4\xbd\xec\x91',
      serial: '',
    },
    query: { 'pin-source': 'file:/etc/token_pin' },
  },
  {
    uri: 'pkcs11:object=my-sign-key;type=private?module-name=mypkcs11',
    path: { object: 'my-sign-key', type: 'private' },
    query: { 'module-name': 'mypkcs11' },
  },
  {
    uri: 'pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1',
    path: { object: 'my-sign-key', type: 'private' },
    query: { 'module-path': '/mnt/libmypkcs11.so.1' },
  },
  {
    uri: 'pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin',
    path: { token: 'Software PKCS#11 softtoken', manufacturer: 'Snake Oil, Inc.' },
    query: { 'pin-value': 'the-pin' },
  },
  { uri: 'pkcs11:slot-description=Sun%20Metaslot', path: { 'slot-description': 'Sun Metaslot' } },
  {
    uri: 'pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23',
    path: {
      'library-manufacturer': 'Snake Oil, Inc.',
      'library-description': 'Soft Token Library',
      'library-version': '1.23',
    },
  },
  {
    uri: 'pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06',
    path: {
      token: 'My token% created by Joe',
      'library-version': '3',
      id: '\x01\x02\x03\xba\xdd\xca\xfe\x04\x05\x06',
    },
  },
  {
    uri: 'pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert',
    path: { token: 'A name with a substring %;', object: 'my-certificate', type: 'cert' },
  },
  {
    uri: 'pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert',
    path: { token: 'Name with a small A with acute: á', object: 'my-certificate', type: 'cert' },
  },
  {
    uri: 'pkcs11:token=my-token;vendor-aaa=value-a?vendor-bbb=1&vendor-bbb=2',
    path: { token: 'my-token', 'vendor-aaa': 'value-a' },
    query: { 'vendor-bbb': '2' },
  },
  { uri: 'pkcs11:slot-id=327', path: { 'slot-id': '327' } },
  { uri: 'pkcs11:object=a+b', path: { object: 'a+b' } },
  { uri: "pkcs11:object=:[]@!$'()*+,=&-._~", path: { object: ":[]@!$'()*+,=&-._~" } },
  { uri: 'pkcs11:?pin-source=|/usr/bin/ask?x=1', path: {}, query: { 'pin-source': '|/usr/bin/ask?x=1' } },
  { uri: 'pkcs11:?', path: {} },
  { uri: 'pkcs11:id=', path: { id: '' } },
  { uri: 'pkcs11:id=%00%ff%C3', path: { id: '\x00\xff\xc3' } },
  { uri: 'pkcs11:object=%EF%BB%BFa', path: { object: '\ufeffa' } },
  { uri: 'pkcs11:__proto__=a;constructor=b', path: { ['__proto__']: 'a', constructor: 'b' } },
  { uri: 'keyagent:www', path: { object: 'www' } },
  { uri: 'keyagent:www%20server', path: { object: 'www server' } },
  { uri: 'keyagent:a=b*', path: { object: 'a=b*' } },
];

test('parsePkcs11Uri decodes well-formed URIs', async (t) => {
  for (const { uri, path, query = {} } of accepted) {
    await t.test(uri, () => {
      const parsed = parsePkcs11Uri(uri);
      assert.deepEqual([...parsed.path], Object.entries(path));
      assert.deepEqual([...parsed.query], Object.entries(query));
      assert.deepEqual([parsed.text, parsed.prefixes.size], [uri, 0]);
    });
  }
});

const refused: readonly [uri: string, says: RegExp][] = [
  ['', /does not begin/],
  ['object=www', /does not begin/],
  ['pkcs12:object=www', /does not begin/],
  [' pkcs11:object=www', /does not begin/],
  ['/etc/ssl/key.pem', /does not begin/],
  ['pkcs11:www', /attribute 1 has no/],
  ['pkcs11:object=a;', /attribute 2 has no/],
  ['pkcs11:;object=a', /attribute 1 has no/],
  ['pkcs11:object=a;;id=%01', /attribute 2 has no/],
  ['pkcs11:=a', /attribute 1 has no/],
  ['pkcs11:ob%6aect=a', /attribute 1 has no/],
  ['pkcs11:object=a?x', /attribute 1 has no/],
  ['pkcs11:object=a;object=b', /"object" is there twice/],
  ['pkcs11:object=a;object=a', /"object" is there twice/],
  ['pkcs11:x-vendor=a;x-vendor=b', /"x-vendor" is there twice/],
  ['pkcs11:?pin-value=1&pin-value=2', /"pin-value" is there twice/],
  ['pkcs11:object=a b', /"object": character 2/],
  ['pkcs11:object=a/b', /"object": character 2/],
  ['pkcs11:object=a#b', /"object": character 2/],
  ['pkcs11:object=é', /"object": character 1/],
  ['pkcs11:object="a"', /"object": character 1/],
  ['pkcs11:object=a\n', /"object": character 2/],
  ['pkcs11:object=%', /"object": "%" without two hex digits/],
  ['pkcs11:object=%4', /"object": "%" without/],
  ['pkcs11:object=%4g', /"object": "%" without/],
  ['pkcs11:object=%+1', /"object": "%" without/],
  ['pkcs11:object=%ff', /"object": not UTF-8/],
  ['pkcs11:token=%C0%AF', /"token": not UTF-8/],
  ['pkcs11:type=key', /"type" is none of private/],
  ['pkcs11:type=Private', /"type" is none of/],
  ['pkcs11:type=', /"type" is none of/],
  ['pkcs11:slot-id=', /"slot-id" is not a number/],
  ['pkcs11:slot-id=-1', /"slot-id" is not a number/],
  ['pkcs11:slot-id=0x1', /"slot-id" is not a number/],
  ['pkcs11:library-version=1.', /"library-version" is not/],
  ['pkcs11:library-version=1.2.3', /"library-version" is not/],
  ['keyagent:', /one name/],
  ['keyagent:www;type=cert', /one name/],
  ['keyagent:www?pin-value=1234', /one name/],
];

test('parsePkcs11Uri says where a malformed URI is wrong', async (t) => {
  for (const [uri, says] of refused) {
    await t.test(JSON.stringify(uri), () => {
      assert.throws(
        () => parsePkcs11Uri(uri),
        (error) => error instanceof AgentError && error.code === 'INVALID' && says.test(error.message),
      );
    });
  }
});

test('an error never repeats a value: it may be a PIN', () => {
  for (const uri of [
    'pkcs11:?pin-value=12 34secret',
    'pkcs11:?pin-value=secret%',
    'pkcs11:?pin-value=%ffsecret',
  ]) {
    assert.throws(
      () => parsePkcs11Uri(uri),
      (error) =>
        error instanceof AgentError &&
        error.message.includes('pin-value') &&
        !error.message.includes('secret'),
    );
  }
});

test('parsePkcs11Pattern takes a trailing * as a prefix and %2A as the character', () => {
  const table: readonly [pattern: string, value: string, isPrefix: boolean][] = [
    ['pkcs11:object=www*', 'www', true],
    ['pkcs11:object=*', '', true],
    ['pkcs11:object=www', 'www', false],
    ['pkcs11:object=www%2A', 'www*', false],
    ['pkcs11:object=www%2A*', 'www*', true],
    ['keyagent:www*', 'www', true],
  ];
  for (const [pattern, value, isPrefix] of table) {
    const { path, prefixes } = parsePkcs11Pattern(pattern);
    assert.deepEqual([path.get('object'), prefixes.has('object')], [value, isPrefix], pattern);
  }
});

test('parsePkcs11Pattern refuses a * elsewhere', () => {
  for (const pattern of [
    'pkcs11:object=a*b',
    'pkcs11:object=**',
    'pkcs11:object=*a',
    'pkcs11:type=*',
    'pkcs11:slot-id=1*',
    'pkcs11:library-version=1*',
  ]) {
    assert.throws(() => parsePkcs11Pattern(pattern), { code: 'INVALID' }, pattern);
  }
});

test('refuseSelectorQuery names what a client may not give, and ignores the rest', () => {
  for (const name of ['pin-value', 'pin-source', 'module-name', 'module-path']) {
    const uri = parsePkcs11Uri(`pkcs11:object=a?x-vendor=1&${name}=secret`);
    assert.throws(
      () => refuseSelectorQuery(uri),
      (error) =>
        error instanceof AgentError &&
        error.message.includes(`"${name}"`) &&
        !error.message.includes('secret'),
    );
  }
  refuseSelectorQuery(parsePkcs11Uri('pkcs11:object=a?x-vendor=1'));
});
