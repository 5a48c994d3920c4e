// What the centre says in sentences, by their codes: said in the language of the page, with times as the page has them. A sentence whose code
// is not known here, of an older or newer centre, is said as it came.
import type { Said } from '../api/shapes';
import { filled, language, t } from '../lang/lang';
import { centreText } from '../lang/problems.svelte';
import { decimals } from './number';
import { duration, short } from './time';
import { commandSign, commandType, editReason, scopeWord } from './words';

/** The texts of internal/api/said.go, those of problems and dead letters apart, which lang/problems.ts has in Japanese, and internal/mdms/vee/finding.go; a test holds them together. */
export const sentences: Record<string, string> = {
  'approval.protected': 'the customer of meter {meter} is protected',
  'approval.protected-many': 'the customers of {n} of the meters are protected, the first of them {meter}',
  'approval.many': 'it disconnects {n} meters, and from {from} on another person has to approve that',
  'approval.always': 'another person has to approve every disconnection',
  'approval.quota': 'with the {before} meters that {who} disconnected in the last hour it is {n}, and from {from} on another person has to approve that',
  'command.approved': 'approved by {who}',
  'command.approved-later': 'approved by {who}; it is to go out in {wait}',
  'command.rejected': 'rejected by {who}',
  'command.at': 'to go out at {time}',
  'command.begins': 'its time has come',
  'command.meters-left': 'sent meter by meter: {n} meters have not yet confirmed that they left the group',
  'command.meters-earlier': 'sent meter by meter: {n} of them have earlier {what} commands',
  'command.sent-already': 'already sent: a meter that it reached may still carry it out',
  'command.unapproved': 'nobody approved it in time',
  'command.away': 'the centre was away at its time',
  'command.no-results': '{n} of {all} meters gave no result',
  'command.never-sent': 'never sent',
  'command.no-result': 'delivered, but no result came',
  'command.sum': 'of {all} meters {states}',
  'command.late': 'late result: {outcome}',
  'command.budget': 'it waits for the budget of {type}ions, {budget}',
  'command.quarantined': '{name} is quarantined: it waits until another person releases it',
  'command.unknown': 'its meter is not known any more',
  'command.sleeps': 'the meter sleeps: queued until {time}',
  'command.sleeps-longer': 'the meter sleeps until {time}, when the command has expired',
  'command.superseded': 'superseded by {id}',
  'quarantine.disconnected': 'one more disconnection than the {budget} allowed, of meter {meter}',
  'rollout.many': 'it is for {n} meters, and from {from} on another person has to approve that',
  'rollout.paused': 'paused by {who}',
  'rollout.resumed': 'resumed by {who}',
  'rollout.cancelled': 'cancelled by {who}',
  'rollout.first': 'the first {n} meters are through, the others follow',
  'rollout.bad': '{bad} of the first {n} meters refused it or failed, more than {share} per cent: see why, then resume or cancel',
  'rollout.late': 'not all meters had it by then',
  'rollout.image': 'its image {image} cannot be read from the store',
  'result.unsupported': 'the device does not support it',
  'result.expired': "it had expired by the device's clock",
  'result.clock': "the device's clock is not synchronised",
  'result.no-expiry': 'a breaker command needs an expiry',
  'result.spent': 'the meter may have carried it out before',
  'result.mode': "the breaker's control mode has no such transition",
  'result.image': 'the meter does not hold this image as a whole',
  'result.no-arming': 'its breaker can be closed from here, but not armed',
  'result.value': 'a parameter is outside of what the device can do',
  'result.unfinished': 'the device lost its power or was restarted meanwhile, and the breaker is not where it was to go',
  'result.failed': 'the device tried and could not: its own log tells why',
  'result.detail': 'detail {n}',
  'ground.gasp': 'it said that its power was lost',
  'ground.silence': 'last heard at {time}; it is due every {every}',
  'ground.heard-last': 'last heard at {time}',
  'ground.will': 'its connection ended without a farewell',
  'ground.no-gasp': 'it has a battery and said nothing',
  'ground.heard': 'a message came',
  'ground.no-answer': 'asked twice, and no answer within {within}',
  'ground.siblings-gasped': '{n} of {all} on transformer {name} sent last gasps',
  'ground.siblings-gone': '{n} of {all} on transformer {name} went without',
  'ground.siblings-silent': '{n} of {all} on transformer {name} did not answer',
  'ground.siblings-alive': '{n} of {all} on transformer {name} were there all the time',
  'ground.siblings-back': '{n} of {all} on transformer {name} are back',
  'ground.siblings-unheard': 'none of the others on transformer {name} has been heard since',
  'ground.mains': 'a concentrator on transformer {name} lost its mains',
  'ground.out': '{scope} {name} is out',
  'ground.out-above': '{scope} {name}, which it hangs on, is out',
  'ground.concentrator': 'concentrator {id}',
  'ground.no-reading': 'no periodic reading is expected',
  'ground.restart': 'it said that it restarts and is back by {time}',
  'ground.window': 'window {id}',
  'ground.window-why': 'window {id}: {reason}',
  'ground.transformer': '{gone} of {all} meters on transformer {name} went, {gasps} of them with last gasps, and {alive} were there all the time: nothing above it is out',
  'ground.transformer-partial': '{gone} of {all} meters on transformer {name} went, {gasps} of them with last gasps, and {alive} were there all the time: not all of it: a phase or a branch',
  'ground.transformers': '{n} of {all} transformers of {scope} {name} went out together',
  'ground.went': '{gasps} meters sent last gasps, {gone} went without, {alive} were there all the time',
  'ground.mains-many': 'concentrators on {n} of the transformers lost their mains',
  'ground.mains-own': 'it said itself that its mains are gone',
  'ground.stopped': 'it took its leave in order, and did not come back',
  'ground.open-before': 'its breaker was open before: the customer had no supply that could be lost',
  'ground.no-place': 'the registry does not say on which transformer it hangs',
  'ground.others-gone': '{n} of the {all} other meters on its concentrator {id} are gone, too',
  'ground.others-there': 'of the {all} other meters on its concentrator {id} {n} are gone',
  'value.readings': 'As readings of the registers at both ends (message 0x02, event reading).',
  'value.profile': 'In a load profile that the centre asked for (message 0x03, event profile; command profile).',
  'value.none-came': 'No value came from the meter.',
  'value.later': 'It came later.',
  'value.none-held': 'The meter said that it holds no value.',
  'value.open': 'The day is not sealed yet.',
  'value.validated': 'Validated: no rule doubts it.',
  'value.not-estimated': 'No value, and none was estimated.',
  'value.lost': 'The value is lost for good: the meter does not hold it any more.',
  'value.estimated': 'Estimated: {method}.',
  'value.out': 'The supply was out for all of the interval: no energy.',
  'value.failed': 'A rule found that it cannot be right, and nothing could be estimated in its place; see the findings.',
  'value.doubted': 'Doubted: a rule found it suspect, see the findings. It stays in use.',
  'value.no-estimate': 'No value, and nothing could be estimated; see the findings.',
  'value.set': 'Edited.',
  'value.estimate': 'Estimated because people asked for it.',
  'value.accept': 'People accepted the value as it came.',
  'value.decided': 'Proposed by {who}, approved by {decider}; reason {reason}.',
  'audit.command.create': 'Command asked for',
  'audit.command.cancel': 'Cancellation asked for',
  'audit.command.approve': 'Command approved',
  'audit.command.reject': 'Command rejected',
  'audit.command.queued': 'Command queued',
  'audit.command.sent': 'Command sent',
  'audit.command.delivered': 'Command delivered',
  'audit.command.done': 'Command carried out',
  'audit.command.refused': 'Command refused by the device',
  'audit.command.failed': 'Command failed',
  'audit.command.expired': 'Command expired',
  'audit.command.cancelled': 'Command cancelled',
  'audit.command.throttled': 'Command held up by a budget',
  'audit.command.late-result': 'Late result of a command',
  'audit.command.meter': 'Result at one of many meters',
  'audit.command.verified': 'Breaker verified by a reading',
  'audit.command.contradicted': 'Breaker contradicted by a reading',
  'audit.command.unanswered': 'No reading behind the switch',
  'audit.group.put': 'Group changed',
  'audit.edit.propose': 'Edit proposed',
  'audit.edit.approve': 'Edit approved',
  'audit.edit.reject': 'Edit rejected',
  'audit.run.put': 'Billing run kept',
  'audit.maintenance.add': 'Maintenance planned',
  'audit.maintenance.end': 'Maintenance ended',
  'audit.outage.cause': 'Cause of an outage stated',
  'audit.registry.import': 'Registry imported',
  'audit.registry.exchange': 'Meter exchanged',
  'audit.registry.retire': 'Meter retired',
  'audit.quarantine.begin': 'Quarantine began',
  'audit.quarantine.release': 'Quarantine released',
  'audit.centre.start': 'Centre started',
  'audit.rules.use': 'Rule set in force',
  'audit.firmware.put': 'Firmware image uploaded',
  'audit.firmware.delete': 'Firmware image deleted',
  'audit.rollout.create': 'Firmware roll-out asked for',
  'audit.rollout.approve': 'Firmware roll-out approved',
  'audit.rollout.reject': 'Firmware roll-out rejected',
  'audit.rollout.pause': 'Firmware roll-out paused',
  'audit.rollout.resume': 'Firmware roll-out resumed',
  'audit.rollout.cancel': 'Firmware roll-out cancelled',
  'audit.rollout.end': 'Firmware roll-out ended',
  'finding.duplicate.0': 'The interval came again with the same value of {wh} Wh.',
  'finding.duplicate.1': 'The interval came again with another value: {wh} Wh, and {other} Wh before; the newest counts.',
  'finding.clock.0': "The meter's clock is {offset} s off, more than {tolerance} s: the times of these intervals are uncertain.",
  'finding.clock.1': 'The meter said that its clock is not synchronised: the times of these intervals are uncertain.',
  'finding.alignment.0': 'An interval of {seconds} s beginning {off} s after a multiple of its length: intervals of {want} s are expected.',
  'finding.gap.0': '{missing} of {expected} expected intervals are absent.',
  'finding.lost.0': '{missing} of {expected} expected intervals are lost for good: the meter does not hold them any more.',
  'finding.partial.0': 'The meter measured only a part of the interval.',
  'finding.partial.1': 'The meter measured for longer than the interval.',
  'finding.unit.0': 'The data are in units of 10^{unit} Wh, the master data say 10^{want}.',
  'finding.unit.1': 'The data carry the factor {factor}, the master data say {want}.',
  'finding.sum.0': 'The intervals add up to {sum} Wh, the registers at both ends differ by {register} Wh: {off} Wh apart, allowed are {allowed}.',
  'finding.sum.1': 'In {spans} spans between registers the intervals do not add up to what the registers differ by: {sum} Wh and {register} Wh in all, {off} Wh apart, up to {furthest} Wh in one span; allowed are {allowed}.',
  'finding.sum.2': 'The intervals add up to {sum} Wh, and to {register} Wh by the register that the registry has of the installation or removal: {off} Wh apart, allowed are {allowed}. Was it read right, and at that time?',
  'finding.increase.0': 'The register fell from {before} to {after} Wh; a roll-over with {dials} dials of kWh would mean {delta} Wh, plausible are at most {most}: exchange or reset?',
  'finding.increase.1': 'The register rose from {before} to {after} Wh, {delta} Wh; plausible are at most {most}.',
  'finding.increase.2': 'The register fell from {before} to {after} Wh, and the meter is not known to roll over (dials): exchange or reset?',
  'finding.rollover.0': 'The register rolled over from {before} to {after} Wh ({dials} dials of kWh): {delta} Wh passed.',
  'finding.spike.0': 'The highest interval of {highest} Wh is {ratio} times the third-highest of {third} Wh above it; allowed are {allowed}.',
  'finding.highlow.0': "The day's {use} Wh are {ratio} times the {usual} Wh of a usual day ({days} days); allowed are {low} to {high}.",
  'finding.limit.0': '{wh} Wh in one interval; fuse and voltage let at most {limit} Wh through.',
  'finding.zero.0': 'Zero for {hours} h on end, with power on and the breaker closed: a dead meter, or tampering?',
  'finding.stuck.0': 'The same {wh} Wh {times} times on end; allowed are {allowed}.',
  'finding.negative.0': '{wh} Wh on a channel that cannot be negative.',
  'finding.inactive.0': '{use} Wh although the usage point is inactive; allowed are {allowed} a day.',
  'finding.reactive.0': '{varh} varh beside {wh} Wh of active energy: more than {ratio} times as much.',
  'finding.export.0': '{wh} Wh fed in, and the usage point has no generator.',
  'finding.export.1': '{wh} Wh fed in at night.',
  'finding.status.0': 'The meter reports tampering.',
  'finding.status.1': 'The meter reports energy flowing backwards.',
  'finding.status.2': 'The meter reports an error of its memory.',
  'finding.status.3': "The meter's clock was set in this interval.",
  'finding.status.4': 'The meter marked the value as estimated by itself.',
  'finding.prolonged.0': 'Estimated on day {day} in a row; a person should look.',
  'finding.prolonged.1': 'Not estimated: it would be day {day} in a row, and after {cap} a person has to decide.',
  'finding.unfilled.0': '{missing} intervals stay without a value: no method has enough to go by.',
  'finding.superseded.0': 'A late value of {wh} Wh took the place of {old} Wh.',
  'finding.superseded.1': 'A late value of {wh} Wh speaks against the edited {old} Wh, which stays.',
};

const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** A span as Go writes it, such as 1h30m0s. ms */
export function span(text: string): number {
  return [...text.matchAll(/([\d.]+)(h|ms|m|s)/g)].reduce((sum, [, n, unit]) => sum + Number(n) * (units[unit ?? ''] ?? 0), 0);
}

/** What stands in a place, by the name of that. */
function place(code: string, name: string, value: string): string {
  const english = language() === 'en';
  switch (name) {
    case 'time':
      return Number.isNaN(Date.parse(value)) ? value : short(Date.parse(value), 0);
    case 'every':
    case 'within':
    case 'wait':
      return duration(span(value));
    case 'budget': {
      const [n, per] = value.split(' in ', 2);
      return n && per ? t('{n} meters in {time}', { n, time: duration(span(per)) }) : value;
    }
    case 'states':
      return value.split(', ').map((part) => part.split(' ', 2)).map(([n, state]) => `${n ?? ''} ${english ? (state ?? '') : commandSign(state ?? '').label}`).join(', ');
    case 'outcome':
      return t(value);
    case 'scope':
      return english ? value : scopeWord(value);
    case 'type':
      return english ? value : commandType(value);
    case 'reason':
      return code === 'value.decided' ? editReason(value) : value;
    default:
      // of findings all that is not a word is a number
      return code.startsWith('finding.') && /^-?\d+(\.\d+)?$/.test(value) ? decimals(Number(value), value.split('.')[1]?.length ?? 0) : value;
  }
}

/** The actions of the audit trail, in the order of their kinds. */
export const auditActions = Object.keys(sentences).filter((code) => code.startsWith('audit.')).map((code) => code.slice('audit.'.length));

/** An action of the audit trail in words. */
export const actionWord = (action: string): string => t(sentences[`audit.${action}`] ?? action);

/** A text of the centre in the language of the page. */
export function told(text: string | undefined, said: Said | readonly Said[] | undefined): string {
  const parts = said === undefined ? [] : Array.isArray(said) ? (said as readonly Said[]) : [said as Said];
  const words = parts.map((s) => {
    const values = Object.fromEntries(Object.entries(s.params ?? {}).map(([name, value]) => [name, place(s.code, name, value)]));
    const own = sentences[s.code];
    return own === undefined ? filled(centreText(s.code) ?? '', values) : t(own, values);
  });
  if (words.length === 0 || words.includes('')) return text ?? '';
  if (language() !== 'ja') return words.join(' ');
  return words.map((w, i) => (i === words.length - 1 || /[。：]$/.test(w) ? w : `${w}。`)).join('');
}
