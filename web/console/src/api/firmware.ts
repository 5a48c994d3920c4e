// The shapes of firmware and its roll-outs: internal/api/firmware.go, field by field.
import type { Approval, Target, Transition } from './shapes';

export interface RollOut {
  id: string;
  image: string;
  version: string;
  model: string;
  target: Target;
  state: string; // pending-approval, running, paused, done, cancelled, expired
  by?: string;
  created: string; // wall time
  expires: string; // wall time
  activateAt?: string; // by the meters' clocks
  onCommand?: boolean;
  blockSize: number;
  rate: number; // bytes a second below one concentrator
  first?: number; // per cent
  maxFailures?: number; // per cent
  approval?: Approval;
  history: Transition[] | null;
  progress: RollOutProgress;
}

export interface RollOutProgress {
  total: number;
  first?: number;
  states: Record<string, number> | null;
  reasons?: Record<string, number>;
  received: number; // per cent of all bytes
  blocks: number;
  bytes: number;
}

export interface RollOutMeter {
  meter: string;
  path: string;
  state: string;
  reason?: string;
  changed: string; // business time
}
