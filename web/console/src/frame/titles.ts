// The names of the pages.
import type { Page } from '../state/route';

export const pageTitle: Record<Page, string> = {
  overview: 'Overview',
  network: 'Network',
  meter: 'Meter',
  commands: 'Commands',
  command: 'Command',
  'roll-out': 'Firmware',
  outages: 'Outages',
  quality: 'Data quality',
  'dead-letters': 'Dead letters',
  audit: 'Audit',
  settings: 'Settings',
  about: 'About',
  unknown: 'Not found',
};
