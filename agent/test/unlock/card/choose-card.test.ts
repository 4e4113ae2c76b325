/** Which card is meant: a table, and the words of each refusal. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { VisibleCard } from '@keyagent/agent/unlock/card/card-readers.js';
import { chooseCard, type Wanted } from '@keyagent/agent/unlock/card/choose-card.js';
import { AgentError } from '@keyagent/protocol';

function at(reader: string, label: string, serial = label.replace('ops', '0')): VisibleCard {
  return { reader, label, serial, flags: [] };
}

const set = ['ops1', 'ops2', 'ops3'].map((label) => ({ label, serial: label.replace('ops', '0') }));
const noneGiven: Wanted = { token: 'web', known: set, given: [] };
const firstGiven: Wanted = { token: 'web', known: set, given: set.slice(0, 1) };
const anyCard: Wanted = { token: 'web', known: undefined, given: set.slice(0, 1) };
const broken = new AgentError('CONFIGURATION', 'card reader safe: cannot load it');

interface Case {
  name: string;
  shown: readonly VisibleCard[];
  wanted: Wanted;
  card?: string;
  problems?: AgentError[];
  chosen?: string;
  refused?: readonly [AgentError['code'], RegExp];
}

const cases: readonly Case[] = [
  { name: 'the only card', shown: [at('desk', 'ops2')], wanted: noneGiven, chosen: 'desk ops2' },
  {
    name: 'the only one that was not given yet',
    shown: [at('desk', 'ops1'), at('desk', 'ops2')],
    wanted: firstGiven,
    chosen: 'desk ops2',
  },
  {
    name: 'the only one of the set, beside foreign cards',
    shown: [at('desk', 'ops9'), at('desk', 'ops3')],
    wanted: noneGiven,
    chosen: 'desk ops3',
  },
  {
    name: 'a reader with one before a reader with several',
    shown: [at('desk', 'ops1'), at('desk', 'ops2'), at('safe', 'ops3')],
    wanted: noneGiven,
    chosen: 'safe ops3',
  },
  {
    name: 'the first reader, if each has one',
    shown: [at('desk', 'ops1'), at('safe', 'ops2')],
    wanted: noneGiven,
    chosen: 'desk ops1',
  },
  {
    name: 'the one that was named by label',
    shown: [at('desk', 'ops1'), at('desk', 'ops2')],
    wanted: noneGiven,
    card: 'ops2',
    chosen: 'desk ops2',
  },
  {
    name: 'the one that was named by serial',
    shown: [at('desk', 'ops1'), at('desk', 'ops2')],
    wanted: noneGiven,
    card: '01',
    chosen: 'desk ops1',
  },
  { name: 'any new card of an enrolment', shown: [at('desk', 'ops7')], wanted: anyCard, chosen: 'desk ops7' },
  {
    name: 'several that fit',
    shown: [at('desk', 'ops1'), at('desk', 'ops2')],
    wanted: noneGiven,
    refused: ['AMBIGUOUS', /^which card\? say --card with its label or serial: ops1 \(01\), ops2 \(02\)$/],
  },
  {
    name: 'two cards of one label',
    shown: [at('desk', 'ops1'), at('desk', 'ops1', 'ff')],
    wanted: noneGiven,
    card: 'ops1',
    refused: ['AMBIGUOUS', /^several cards are called ops1; say --card with a serial/],
  },
  {
    name: 'a card that was given already',
    shown: [at('desk', 'ops1')],
    wanted: firstGiven,
    card: 'ops1',
    refused: ['INVALID', /^card ops1 was given already; give another one$/],
  },
  {
    name: 'a foreign card',
    shown: [at('desk', 'ops9')],
    wanted: noneGiven,
    card: 'ops9',
    refused: ['NOT_FOUND', /^card ops9 \(serial 09\) is not of the set of web; its cards: ops1 \(01\), ops2/],
  },
  {
    name: 'another card under a label of the set',
    shown: [at('desk', 'ops1', 'ff')],
    wanted: noneGiven,
    card: 'ops1',
    refused: ['NOT_FOUND', /^card ops1 \(serial ff\) is not of the set of web/],
  },
  {
    name: 'a name that no card has',
    shown: [],
    wanted: noneGiven,
    card: 'opsX',
    refused: ['NOT_FOUND', /^the set of web has no card opsX; its cards: ops1/],
  },
  {
    name: 'a card of the set that is in no reader',
    shown: [at('desk', 'ops1')],
    wanted: noneGiven,
    card: 'ops2',
    refused: ['TOKEN_ABSENT', /^no reader shows card ops2; insert it$/],
  },
  {
    name: 'nothing but what was given already',
    shown: [at('desk', 'ops1')],
    wanted: firstGiven,
    refused: ['TOKEN_ABSENT', /^insert one of ops2 \(02\), ops3 \(03\); the readers show only ops1 \(01\)$/],
  },
  {
    name: 'empty readers',
    shown: [],
    wanted: anyCard,
    refused: ['TOKEN_ABSENT', /^insert another card; the readers show no card$/],
  },
  {
    name: 'a reader that fails',
    shown: [],
    wanted: noneGiven,
    problems: [broken],
    refused: ['CONFIGURATION', /^card reader safe: cannot load it$/],
  },
  {
    name: 'a reader that fails beside one that works',
    shown: [at('desk', 'ops9')],
    wanted: noneGiven,
    problems: [broken],
    refused: ['TOKEN_ABSENT', /^insert one of ops1 .*; card reader safe: cannot load it$/],
  },
];

describe('chooseCard', () => {
  for (const { name, shown, wanted, card, problems = [], chosen, refused } of cases) {
    it(`${chosen === undefined ? 'refuses' : 'takes'} ${name}`, () => {
      const choose = (): VisibleCard => chooseCard({ cards: shown, problems }, wanted, card);
      if (refused === undefined) {
        const { reader, label } = choose();
        assert.equal(`${reader} ${label}`, chosen);
        return;
      }
      const [code, message] = refused;
      assert.throws(choose, (error: unknown) => {
        assert.ok(error instanceof AgentError);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});
