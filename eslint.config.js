/**
 * Typed lint for TypeScript, and the import rules of the architecture: which room may know which.
 * tsc -b must have run, for the types that come from other packages.
 */
import tseslint from 'typescript-eslint';

/** An import rule for some files: `regex` matches what they must not import. */
function mayNotImport(files, ...rules) {
  const patterns = rules.map(([regex, message]) => ({ regex, message }));
  return { files, rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns }] } };
}

/** Relative imports that leave the folder, except into the rooms named. */
function outside(...rooms) {
  return `^\\.\\./(?!${rooms.map((room) => `${room}$`).join('|') || '$'})`;
}

const pkcs11js = ['^pkcs11js$', 'only agent/host touches a PKCS#11 module'];
const tests = ['(^|/)test(/|$)', 'nothing imports test'];
const host = [
  '/host/(?!host-protocol\\.js$)',
  'the agent knows of a token host only what host-protocol.ts says',
];

export default tseslint.config(
  { ignores: ['**/dist/', 'build/', 'node_modules/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      // Numbers in messages are wanted, as they are.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `_name` is there for its position or its type only.
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/no-misused-spread': ['error', { allow: ['string'] }],
      // Matters of taste that each file may settle for itself.
      '@typescript-eslint/dot-notation': 'off',
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/consistent-indexed-object-style': 'off',
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
    },
  },
  mayNotImport(['protocol/**/*.ts'], ['^@keyagent/', 'protocol imports nothing of ours'], tests),
  mayNotImport(
    ['clients/ts/**/*.ts'],
    ['^@keyagent/(?!protocol$)', 'the client knows protocol only'],
    pkcs11js,
    tests,
  ),
  mayNotImport(
    ['agent/**/*.ts'],
    ['^@keyagent/(?!protocol$)', 'the agent knows protocol only'],
    pkcs11js,
    host,
    tests,
  ),
  mayNotImport(
    ['agent/policy/*.ts'],
    ['^(@keyagent/(?!protocol$)|node:|pkcs11js$)', 'policy is pure: protocol only, no I/O, no clock'],
    [outside(), 'policy knows protocol only'],
  ),
  mayNotImport(
    ['agent/audit/*.ts'],
    ['^(@keyagent/(?!protocol$)|pkcs11js$)', 'audit knows protocol only'],
    [outside('policy/peer\\.js'), 'audit knows protocol and the type of a peer'],
  ),
  mayNotImport(
    ['agent/socket/*.ts'],
    ['^(@keyagent/(?!protocol$)|pkcs11js$)', 'socket knows protocol only'],
    [
      outside(
        'policy/peer\\.js',
        'native/index\\.js',
        'cancellation\\.js',
        'outgoing\\.js',
        'unsafe-file\\.js',
      ),
      'socket knows protocol, the type of a peer, cancellation, outgoing frames, the check of a file and the addon',
    ],
  ),
  mayNotImport(
    ['agent/host/*.ts'],
    ['^@keyagent/(?!protocol$)', 'the token host knows protocol only'],
    [
      outside('native/index\\.js', 'unsafe-file\\.js'),
      'the token host is a program of its own: it shares only its protocol, the addon and the check of a file',
    ],
  ),
  {
    // Tests look inside their own package.
    files: ['**/test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': 'off',
      '@typescript-eslint/unbound-method': 'off',
      // node:test collects the promises of test() and describe() itself.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'describe', 'it', 'suite'] },
          ],
        },
      ],
    },
  },
  { files: ['**/*.{js,mjs}'], extends: [tseslint.configs.base] },
);
